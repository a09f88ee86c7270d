"""A gateway on a real socket: it answers as it is told and remembers what it was asked."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Self

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from ims_gateway_client import AsyncClient, Client
from imsgateway.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    admin_service_pb2,
    admin_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
)
from imsgateway.v1.job_pb2 import Job

NAME = "tenants/acme/jobs/0198-a"
KEY = "imsk_test_secret"

SERVICES = {
    service: (module_grpc, service.name)
    for module, module_grpc in (
        (job_service_pb2, job_service_pb2_grpc),
        (access_service_pb2, access_service_pb2_grpc),
        (quota_service_pb2, quota_service_pb2_grpc),
        (admin_service_pb2, admin_service_pb2_grpc),
    )
    for service in module.DESCRIPTOR.services_by_name.values()
}


@dataclass(frozen=True)
class Call:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str]


class Gateway:
    """Answers each method with its list of answers in order; the last one stays.

    An answer is a message, a google.rpc.Status, a function of request and context, or, for a
    stream, a list of such.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, list[Any]] = {}
        self.target = ""
        self._executor = futures.ThreadPoolExecutor(8)
        # Shared ports would let the system give this one to a server of another test run.
        self._server = grpc.server(self._executor, options=[("grpc.so_reuseport", 0)])
        for service, (module, name) in SERVICES.items():
            servicer = getattr(module, f"{name}Servicer")()
            for method in service.methods:
                setattr(servicer, method.name, self._handler(method))
            getattr(module, f"add_{name}Servicer_to_server")(servicer, self._server)

    def start(self, credentials: grpc.ServerCredentials | None) -> None:
        """Listen, behind TLS where there are credentials."""
        if credentials:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        """Stop at once; calls under way end as UNAVAILABLE or CANCELLED."""
        self._server.stop(0).wait()
        self._executor.shutdown()

    def requests(self, method: str) -> list[Any]:
        """Return what a method was asked."""
        return [call.request for call in self.calls if call.method == method]

    def _handler(self, method: Any) -> Callable[..., Any]:
        def unary(request: Message, context: grpc.ServicerContext) -> Message:
            return self._give(self._next(method.name, request, context), request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
            request = next(request) if method.client_streaming else request
            for answer in self._next(method.name, request, context):
                yield self._give(answer, request, context)

        return stream if method.server_streaming else unary

    def _next(self, method: str, request: Message, context: grpc.ServicerContext) -> Any:
        arrived = type(request)()
        arrived.CopyFrom(request)  # an answer may change the request
        self.calls.append(Call(method, arrived, dict(context.invocation_metadata())))
        answers = self.answers[method]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    @staticmethod
    def _give(answer: Any, request: Message, context: grpc.ServicerContext) -> Message:
        if callable(answer):
            answer = answer(request, context)
        if isinstance(answer, status_pb2.Status):
            context.abort_with_status(rpc_status.to_status(answer))
        return answer


class Blocking:
    """AsyncClient behind Client's interface, so that every test holds for both."""

    def __init__(self, target: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._make(target, options))

    @staticmethod
    async def _make(target: str, options: dict[str, Any]) -> AsyncClient:
        return AsyncClient(target, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            made = getattr(self._client, name)(*positional, **named)
            if inspect.isasyncgen(made):
                return self._drain(made)
            return self._loop.run_until_complete(made)

        return call

    def _drain(self, items: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(items.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@pytest.fixture
def make_gateway() -> Iterator[Callable[..., Gateway]]:
    """Return a function that starts a gateway without answers, behind TLS where told."""
    made: list[Gateway] = []

    def make(credentials: grpc.ServerCredentials | None = None) -> Gateway:
        made.append(Gateway())
        made[-1].start(credentials)
        return made[-1]

    yield make
    for gateway in made:
        gateway.stop()


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    """Return a listening gateway without answers."""
    return make_gateway()


@pytest.fixture
def refuse() -> Callable[..., status_pb2.Status]:
    """Return a function that makes the status of a refusal, with details as the gateway gives."""

    def status(
        code: grpc.StatusCode, reason: str = "", *details: Message, **metadata: str
    ) -> status_pb2.Status:
        info = error_details_pb2.ErrorInfo(reason=reason, domain="imsgateway.v1", metadata=metadata)
        packed = []
        for detail in [info, *details] if reason else details:
            packed.append(AnyMessage())
            packed[-1].Pack(detail)
        return status_pb2.Status(code=code.value[0], message="told to", details=packed)

    return status


@pytest.fixture
def unavailable(refuse: Callable[..., status_pb2.Status]) -> status_pb2.Status:
    """Return the status of a gateway that cannot serve now."""
    return refuse(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


@pytest.fixture
def retry_after() -> Callable[[float], error_details_pb2.RetryInfo]:
    """Return a function that makes a RetryInfo of seconds."""

    def info(seconds: float) -> error_details_pb2.RetryInfo:
        delay = Duration()
        delay.FromNanoseconds(int(seconds * 1e9))
        return error_details_pb2.RetryInfo(retry_delay=delay)

    return info


@pytest.fixture
def job() -> Job:
    """Return a job as a caller writes it."""
    return Job(
        cover={
            "input": {"oss_uri": "oss://in/a.mp4"},
            "output": {"uri": "oss://out/{sequenceId}.png"},
        }
    )


@pytest.fixture
def at() -> Callable[..., Job]:
    """Return a function that makes the job in a state, as the gateway returns it."""

    def job_at(state: str, **fields: Any) -> Job:
        return Job(
            name=NAME,
            state=f"STATE_{state}",
            cover={"input": {"oss_uri": "oss://in/a.mp4"}},
            **fields,
        )

    return job_at


@pytest.fixture(params=[Client, Blocking], ids=["sync", "asyncio"])
def client(request, gateway):
    """Return each of the two clients, connected to the gateway."""
    with request.param(gateway.target, api_key=KEY, timeout_seconds=10) as made:
        yield made
