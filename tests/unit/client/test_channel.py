import datetime as dt
import ipaddress
import json
import threading

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from ims_gateway_client import AsyncClient, Client, TlsOptions, Unavailable
from ims_gateway_client.channel import READS, Endpoint, channel_options, is_local, service_config
from ims_gateway_client.cli.app import app
from imsgateway.v1 import (
    access_service_pb2,
    admin_service_pb2,
    job_service_pb2,
    quota_service_pb2,
)
from imsgateway.v1.access_service_pb2 import WhoAmIResponse
from imsgateway.v1.job_service_pb2 import (
    CancelJobRequest,
    GetJobRequest,
    SubmitJobRequest,
    SubmitJobsRequest,
    WatchJobRequest,
)

KEY = "imsk_test_secret"

# Named one by one, so that a new method is thought about before anything repeats it.
WRITES = {"SubmitJob", "SubmitJobs", "CancelJob", "ResolveJob", "Reload"}
RESUMED = {"WatchJob"}


@pytest.fixture
def certificate(tmp_path):
    """Return the paths of a key and its certificate, for 127.0.0.1 and gateway.internal."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = [
        x509.DNSName("gateway.internal"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


@pytest.fixture
def start_with_tls(make_gateway, certificate):
    """Return a function that starts a gateway behind TLS."""
    key_file, certificate_file = certificate

    def start(*, mutual=False):
        pair = (key_file.read_bytes(), certificate_file.read_bytes())
        roots = pair[1] if mutual else None
        gateway = make_gateway(grpc.ssl_server_credentials([pair], roots, mutual))
        gateway.answers["WhoAmI"] = [WhoAmIResponse(tenant="tenants/acme")]
        return gateway

    return start


def test_every_method_is_either_a_read_or_a_write():
    """The service config names exactly the unary methods that change nothing."""
    services = {
        service.full_name: {method.name for method in service.methods}
        for module in (access_service_pb2, admin_service_pb2, job_service_pb2, quota_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    reads = {name: methods - WRITES - RESUMED for name, methods in services.items()}
    assert {name: set(methods) for name, methods in READS.items()} == reads


def test_the_service_config_names_methods_one_by_one():
    """No entry covers a whole service, where a write would be caught with the reads."""
    (entry,) = json.loads(service_config())["methodConfig"]
    assert all(name["service"] and name["method"] for name in entry["name"])
    assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (lambda client: client.jobs.SubmitJob(SubmitJobRequest()), "SubmitJob"),
        (lambda client: list(client.jobs.SubmitJobs(iter([SubmitJobsRequest()]))), "SubmitJobs"),
        (lambda client: list(client.jobs.WatchJob(WatchJobRequest())), "WatchJob"),
        (lambda client: client.jobs.CancelJob(CancelJobRequest()), "CancelJob"),
    ],
)
def test_raw_stubs_repeat_no_write(gateway, unavailable, call, method):
    """A raw submit, which may have no request_id, reaches the gateway once; it is authenticated."""
    gateway.answers[method] = [
        [unavailable] if method in {"SubmitJobs", "WatchJob"} else unavailable
    ]
    with Client(gateway.target, api_key=KEY) as client, pytest.raises(grpc.RpcError):
        call(client)
    (only,) = gateway.calls
    assert only.metadata["authorization"] == f"Bearer {KEY}"


async def test_raw_asynchronous_stubs_are_authenticated(gateway, unavailable):
    """All shapes of call carry the credential."""
    gateway.answers = {
        "GetJob": [unavailable],
        "WatchJob": [[unavailable]],
        "SubmitJobs": [[unavailable]],
    }
    async with AsyncClient(gateway.target, api_key=KEY) as client:
        with pytest.raises(grpc.RpcError):
            await client.jobs.GetJob(GetJobRequest())
        with pytest.raises(grpc.RpcError):
            await client.jobs.WatchJob(WatchJobRequest()).read()
        with pytest.raises(grpc.RpcError):
            await client.jobs.SubmitJobs(iter([SubmitJobsRequest()])).read()
    assert {call.method for call in gateway.calls} == {"GetJob", "WatchJob", "SubmitJobs"}
    assert {call.metadata["authorization"] for call in gateway.calls} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("127.0.0.1:50051", True),
        ("localhost:50051", True),
        ("localhost", True),
        ("[::1]:50051", True),
        ("dns:///localhost:50051", True),
        ("dns:localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("unix:/run/gateway.sock", True),
        ("gateway.internal:443", False),
        ("dns:///gateway:50051", False),
        ("localhost.evil.example:443", False),
        ("10.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
    ],
)
def test_only_this_machine_is_spoken_to_in_plain_text(target, local):
    """Without a word about TLS, a credential never crosses a network in the clear."""
    assert is_local(target) is local
    assert (Endpoint.of(target, tls=None).tls is None) is local
    assert Endpoint.of(target, tls=True).tls == TlsOptions()
    assert Endpoint.of(target, tls=False).tls is None


def test_pings_are_rare_enough_for_any_server():
    """A gRPC server tolerates one ping in 300 seconds unless it is told otherwise."""
    options = dict(channel_options(Endpoint("gateway:1", None)))
    assert int(options["grpc.keepalive_time_ms"]) > 300_000


def test_local_calls_pass_no_proxy():
    """A proxy of the environment is not asked for this machine."""
    assert ("grpc.enable_http_proxy", 0) in channel_options(Endpoint("localhost:1", None))
    assert "grpc.enable_http_proxy" not in dict(channel_options(Endpoint("gateway:1", None)))


def test_tls_trusts_the_given_authority(start_with_tls, certificate):
    """The credential travels over TLS as it does in plain text."""
    gateway = start_with_tls()
    options = TlsOptions(ca_file=certificate[1])
    with Client(gateway.target, api_key=KEY, tls=options, timeout_seconds=10) as client:
        assert client.who_am_i().tenant == "tenants/acme"
    assert gateway.calls[0].metadata["authorization"] == f"Bearer {KEY}"


async def test_the_asynchronous_client_speaks_tls(start_with_tls, certificate):
    """Both clients make their channel alike."""
    gateway = start_with_tls()
    options = TlsOptions(ca_file=certificate[1], server_name="gateway.internal")
    async with AsyncClient(gateway.target, tls=options, timeout_seconds=10) as client:
        assert (await client.who_am_i()).tenant == "tenants/acme"


def test_imsctl_trusts_the_given_authority(start_with_tls, certificate):
    """--ca-file implies TLS, to this machine too."""
    gateway = start_with_tls()
    line = ["whoami", "--target", gateway.target, "--ca-file", str(certificate[1])]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert CliRunner().invoke(app, line[:3]).exit_code == 8


def test_a_certificate_of_nobody_known_is_refused(start_with_tls):
    """Without its authority the gateway is not trusted, and gets no credential."""
    gateway = start_with_tls()
    with (
        Client(gateway.target, api_key=KEY, tls=True, timeout_seconds=10) as client,
        pytest.raises(Unavailable),
    ):
        client.who_am_i()
    assert gateway.calls == []


def test_the_caller_may_prove_itself_by_certificate(start_with_tls, certificate):
    """MTLS needs no API key."""
    gateway = start_with_tls(mutual=True)
    key_file, certificate_file = certificate
    options = TlsOptions(
        ca_file=certificate_file, certificate_file=certificate_file, key_file=key_file
    )
    with Client(gateway.target, tls=options, timeout_seconds=10) as client:
        client.who_am_i()
    assert "authorization" not in gateway.calls[0].metadata


def test_a_token_is_asked_for_before_each_call(gateway):
    """A token that is renewed is used at once."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse()]
    tokens = iter(["first.jwt", "second.jwt"])
    with Client(gateway.target, token=lambda: next(tokens)) as client:
        client.who_am_i()
        client.who_am_i()
    sent = [call.metadata["authorization"] for call in gateway.calls]
    assert sent == ["Bearer first.jwt", "Bearer second.jwt"]


@pytest.mark.parametrize("awaitable", [False, True])
async def test_an_asynchronous_token_may_be_awaited(gateway, awaitable):
    """A coroutine function is as good as a function."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse()]

    async def fetch():
        return "some.jwt"

    token = fetch if awaitable else lambda: "some.jwt"
    async with AsyncClient(gateway.target, token=token) as client:
        await client.who_am_i()
    assert gateway.calls[0].metadata["authorization"] == "Bearer some.jwt"


def test_a_token_function_that_fails_fails_the_call(gateway):
    """The caller sees its own exception, and nothing is sent."""

    def broken():
        raise LookupError("no token")

    with Client(gateway.target, token=broken) as client, pytest.raises(LookupError):
        client.who_am_i()
    assert gateway.calls == []


@pytest.mark.parametrize("key", ["imsk_with\nnewline", "imsk_with space", "", "imsk_ü"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key):
    """The message says what is wrong and not what the key is."""
    with pytest.raises(ValueError, match="api_key must be") as caught:
        Client("127.0.0.1:1", api_key=key)
    assert not key or key not in str(caught.value)


def test_key_and_token_exclude_each_other():
    """Two credentials would leave open which one is sent."""
    with pytest.raises(ValueError, match="not both"):
        Client("127.0.0.1:1", api_key=KEY, token=lambda: "x")


def test_one_client_serves_several_threads(gateway):
    """Calls of many threads share the channel."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse()]
    with Client(gateway.target, timeout_seconds=10) as client:
        threads = [threading.Thread(target=client.who_am_i) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(gateway.calls) == 16
