import pytest

from ims_gateway.upstream.account import Account


def test_public_endpoint_of_the_region_is_the_default():
    """An account that names only its region calls that region over HTTPS."""
    assert Account("a", "cn-shanghai", None).origin == "https://ice.cn-shanghai.aliyuncs.com"


@pytest.mark.parametrize(
    "endpoint",
    ["ice-vpc.cn-beijing.aliyuncs.com", "127.0.0.1:8089", "[::1]:8089", "emulator", "my_host:1"],
)
def test_endpoint_may_be_a_host_or_host_and_port(endpoint):
    """The endpoint is used as it was set."""
    account = Account("a", "cn-shanghai", None, endpoint=endpoint, scheme="http")
    assert account.origin == f"http://{endpoint}"


@pytest.mark.parametrize(
    ("endpoint", "scheme", "host", "port"),
    [
        ("ice.cn-shanghai.aliyuncs.com", "https", "ice.cn-shanghai.aliyuncs.com", 443),
        ("emulator", "http", "emulator", 80),
        ("localhost:8089", "https", "localhost", 8089),
        ("[::1]", "https", "::1", 443),
        ("[::1]:8089", "http", "::1", 8089),
    ],
)
def test_spans_are_told_host_and_port_apart(endpoint, scheme, host, port):
    """An endpoint without a port has the scheme's."""
    account = Account("a", "cn-shanghai", None, endpoint=endpoint, scheme=scheme)
    assert (account.host, account.port) == (host, port)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://ice.aliyuncs.com",
        "ice.aliyuncs.com/",
        "ice.aliyuncs.com?x=1",
        "user@ice.aliyuncs.com",
        "ice..aliyuncs.com",
        "a" * 64 + ".com",
        "host:0",
        "host:65536",
        "host:",
        "host\n",
        "häst",
    ],
)
def test_endpoint_that_cannot_be_called_is_refused(endpoint):
    """A mistake in the setting stops the start instead of every call."""
    with pytest.raises(ValueError, match="'a': endpoint must be"):
        Account("a", "cn-shanghai", None, endpoint=endpoint)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": ""}, "name"),
        ({"region": "CN Shanghai"}, "region"),
        ({"scheme": "ftp"}, "scheme"),
        ({"scheme": "http", "ca_file": "ca.pem"}, "ca_file"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"connect_timeout_seconds": 0}, "connect_timeout_seconds"),
        ({"read_timeout_seconds": -1}, "read_timeout_seconds"),
    ],
)
def test_nonsense_is_refused_by_name(settings, said):
    """The message names the setting that is wrong."""
    with pytest.raises(ValueError, match=said):
        Account(**{"name": "a", "region": "cn-shanghai", "credentials": None} | settings)
