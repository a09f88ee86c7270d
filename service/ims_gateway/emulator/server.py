"""The emulator as its users hold it: listeners that start and stop, and a view of the inside.

Decides which listeners there are. What becomes of a call is the handler's.
"""

import asyncio
import contextlib
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from ims_gateway.emulator.control import PREFIX, Control
from ims_gateway.emulator.counts import Counts
from ims_gateway.emulator.faults import FaultPlan
from ims_gateway.emulator.handler import Handler
from ims_gateway.emulator.hangs import Hangs
from ims_gateway.emulator.jobs import Job
from ims_gateway.emulator.service import Service
from ims_gateway.emulator.settings import EmulatorSettings

# A job travels in its URL: 256 characters of user data alone may take 3 kB there.
_LONGEST_REQUEST_LINE = 64 * 1024


class Emulator:
    """An IMS endpoint for development and tests; `async with` starts and stops it.

    http_endpoint, https_endpoint: "host:port" of each listener, None when it is off.
    ca_file: PEM of the CA to trust for HTTPS, None without HTTPS.
    """

    def __init__(self, settings: EmulatorSettings) -> None:
        self.http_endpoint: str | None = None
        self.https_endpoint: str | None = None
        self.ca_file: Path | None = None
        self._settings = settings
        self._service = Service(settings)
        self._hangs = Hangs()
        self._exit = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            server = self._make_server()
            runner = web.ServerRunner(server)
            await runner.setup()
            stack.push_async_callback(self._stop, runner, server)
            if self._settings.http_port is not None:
                port = await self._listen(runner, self._settings.http_port)
                self.http_endpoint = f"{self._settings.host}:{port}"
            if self._settings.https_port is not None:
                context = self._make_tls_context(stack)
                port = await self._listen(runner, self._settings.https_port, context)
                self.https_endpoint = f"localhost:{port}"
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every accepted job, oldest first."""
        return self._service.jobs.all()

    @property
    def counts(self) -> Counts:
        """The counts so far; the object is live."""
        return self._service.counts

    @property
    def faults(self) -> tuple[FaultPlan, ...]:
        """The plans that some call has yet to meet."""
        return self._service.faults.waiting

    @property
    def hanging(self) -> int:
        """How many calls hang now."""
        return self._hangs.count

    async def wait_until_hanging(self, count: int) -> None:
        """Return once exactly this many calls hang."""
        await self._hangs.wait_for_count(count)

    def status(self, job: Job) -> str:
        """Return the status that a query would be told now."""
        return self._service.status(job)

    def describe(self, job: Job) -> dict[str, Any]:
        """Return the record of a job as GET /emulator/jobs shows it."""
        return {
            "job_id": job.job_id,
            "access_key_id": job.caller.access_key_id,
            "nonce": job.caller.nonce,
            "accepted_time": datetime.fromtimestamp(job.accepted_at, UTC).isoformat(),
            "status": self.status(job),
            "parameters": dict(job.parameters),
            "decoded": job.decoded,
        }

    def add_fault(self, plan: FaultPlan) -> None:
        """Let a plan wait for the calls it is meant for."""
        self._service.faults.add(plan)

    def clear_faults(self) -> None:
        """Drop every plan."""
        self._service.faults.clear()

    def release(self) -> None:
        """Let the calls go on that hang now."""
        self._hangs.release()

    def reset(self) -> None:
        """Forget jobs, counts, nonces and plans, and give up the calls that hang."""
        self._service.reset()
        self._hangs.abandon()

    def _make_server(self) -> web.Server:
        control, handler = Control(self), Handler(self._service, self._hangs)

        async def handle(request: web.BaseRequest) -> web.Response:
            under_control = request.rel_url.raw_path.startswith(PREFIX)
            return await (control if under_control else handler).handle(request)

        # The low-level server: an Application's routing costs a tenth of a call.
        # A call stops hanging when its caller leaves, hence the cancellation.
        return web.Server(
            handle,
            access_log=None,
            handler_cancellation=True,
            max_line_size=_LONGEST_REQUEST_LINE,
        )

    async def _stop(self, runner: web.ServerRunner, server: web.Server) -> None:
        self._hangs.close()
        transports = [connection.transport for connection in server.connections]
        await runner.cleanup()
        # Closed politely, a TLS connection waits half a minute for its peer's goodbye.
        for transport in transports:
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)

    async def _listen(
        self, runner: web.ServerRunner, port: int, context: ssl.SSLContext | None = None
    ) -> int:
        site = web.TCPSite(runner, self._settings.host, port, ssl_context=context)
        await site.start()
        return int(runner.addresses[-1][1])

    def _make_tls_context(self, stack: contextlib.AsyncExitStack) -> ssl.SSLContext:
        # Imported here: HTTP alone does without cryptography.
        from ims_gateway.emulator.certificates import write_certificates  # noqa: PLC0415

        folder = self._settings.certificates_folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates = write_certificates(folder)
        self.ca_file = certificates.ca_file
        return certificates.server_context()
