import pytest

from ims_gateway.tenancy.credentials_file import EnvironmentKey, FileKey, OidcRole, RamRole
from ims_gateway.tenancy.files import AccountsFile
from ims_gateway.tenancy.reading import ConfigurationError, parse

HEAD = "accounts:\n  - name: main\n    region: cn-shanghai\n"


def credentials(text):
    """Return the credentials of an account with this text of them."""
    return (
        parse(f"{HEAD}    credentials: {text}\n", "accounts.yaml", AccountsFile)
        .accounts[0]
        .credentials
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{}", EnvironmentKey),
        ("{source: environment}", EnvironmentKey),
        ("{source: file, path: /run/key}", FileKey),
        ("{type: file, path: /run/key}", FileKey),
        ("{type: oidc_role_arn}", OidcRole),
    ],
)
def test_both_spellings_are_read(text, kind):
    """Files from before there were types go on working."""
    assert type(credentials(text)) is kind


def test_an_account_without_credentials_takes_those_of_the_environment():
    """As ever."""
    file = parse(HEAD, "accounts.yaml", AccountsFile)
    assert file.accounts[0].credentials == EnvironmentKey()


def test_a_role_may_be_assumed_with_any_other_credential():
    """Also with another role."""
    found = credentials(
        "{type: ram_role_arn, role_arn: 'acs:ram::1:role/a', base: {type: oidc_role_arn}}"
    )
    assert isinstance(found, RamRole)
    assert isinstance(found.base, OidcRole)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{type: bearer}", "credentials: Input tag 'bearer'"),
        ("{role_arn: x}", "credentials: Value error, type is missing"),
        ("{type: oidc_role_arn, role: x}", "credentials.role: Extra inputs"),
        ("{type: oidc_role_arn, role_arn: admin}", "credentials.role_arn: String should match"),
        ("{type: oidc_role_arn, duration_seconds: 60}", "credentials.duration_seconds: Input"),
        ("{type: oidc_role_arn, session_name: 'a b'}", "credentials.session_name: String"),
        ("{type: oidc_role_arn, policy: '[]'}", "credentials.policy: Value error, must be a RAM"),
        ("{type: oidc_role_arn, sts_endpoint: 'http://sts.example.com'}", "in the open"),
        ("{type: oidc_role_arn, sts_endpoint: sts.example.com/x}", "must be a host"),
        ("{type: credentials_uri, uri: 'http://10.0.0.1/key'}", "credentials.uri: Value error"),
        ("{type: credentials_uri, uri: 'https://u:p@host/key'}", "credentials.uri: Value error"),
        ("{type: ram_role_arn}", "credentials.role_arn: Field required"),
        (
            "{type: ram_role_arn, role_arn: 'acs:ram::1:role/a', base: {type: file}}",
            "credentials.base.path: Field required",
        ),
    ],
)
def test_faults_name_the_member(text, fault):
    """With its line, and without the value where that may be anything."""
    with pytest.raises(ConfigurationError) as raised:
        credentials(text)
    (found,) = raised.value.faults
    assert str(found).startswith("accounts.yaml:4: accounts[0].credentials")
    assert fault in str(found)
