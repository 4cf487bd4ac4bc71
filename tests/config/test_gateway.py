"""The gateway's configuration: everything, nothing but what is needed, and what is wrong with it."""

from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.config.gateway import (
    Admins,
    AuditConfig,
    AuthorityFiles,
    ClaimNames,
    Endpoints,
    GatewayConfig,
    LoginFlow,
    ProviderConfig,
    SessionsConfig,
    SshConfig,
    TlsFiles,
    TokenKind,
    load_gateway,
)
from airtunnel.errors import ConfigError
from airtunnel.model import Address, KeyBinding, PrincipalKind

SMALL = """\
tls: {certificate: tls/gateway.pem, key: tls/gateway.key}
policy: policy
providers:
  - issuer: https://login.example.com
    client_id: airtunnel
    audiences: [airtunnel-gateway]
"""

WHOLE = """\
name: demo
listen: {https: "0.0.0.0:8443", ssh: "[::]:2222"}
public: {https: gateway.example.com:443, ssh: gateway.example.com:22}
tls: {certificate: tls/gateway.pem, key: tls/gateway.key}
providers:
  - issuer: https://login.example.com
    client_id: airtunnel
    client_secret: not-so-secret
    audiences: [airtunnel-gateway]
    scopes: [openid, email, groups]
    token: access_token
    flows: [browser, device]
    claims: {name: preferred_username, groups: roles, keep: [department]}
    ca: tls/provider-ca.pem
  - issuer: https://kubernetes.default.svc
    kind: workload
    audiences: [airtunnel-gateway]
    claims: {name: sub}
authority: {directory: keys}
policy: policy/shop.yaml
state: postgresql://airtunnel:hunter2@db/airtunnel
audit: {file: /var/log/airtunnel.jsonl, required: false, fsync: false}
ssh: {compat_openssh: true, login_timeout: 10s, max_unauthenticated: 7, keepalive: 5s}
grants: {ttl: 2m}
sessions: {drain: 1h}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with every file that the configurations name."""
    for name in ("tls/gateway.pem", "tls/gateway.key", "tls/provider-ca.pem", "policy/shop.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def load(home: Path, text: str) -> GatewayConfig:
    (home / "gateway.yaml").write_text(text)
    return load_gateway(home / "gateway.yaml")


def complaint(home: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(home, text)
    return caught.value.message


def test_a_small_file_has_the_defaults(home: Path) -> None:
    loopback = Endpoints(Address("127.0.0.1", 8443), Address("127.0.0.1", 2222))
    assert load(home, SMALL) == GatewayConfig(
        name="127.0.0.1",
        listen=loopback,
        public=loopback,
        tls=TlsFiles(home / "tls/gateway.pem", home / "tls/gateway.key"),
        providers=(
            ProviderConfig(
                issuer="https://login.example.com",
                audiences=("airtunnel-gateway",),
                client_id="airtunnel",
                client_secret=None,
                scopes=("openid", "email", "offline_access"),
                token=TokenKind.ACCESS,
                flows=(LoginFlow.DEVICE,),
                claims=ClaimNames("email", "groups", ()),
                kind=PrincipalKind.PERSON,
                ca=None,
                binding=KeyBinding.AUTO,
            ),
        ),
        authority=AuthorityFiles(home / "authority"),
        policy=home / "policy",
        state=str(home / "state.db"),
        audit=AuditConfig(home / "audit/audit.jsonl", required=True, fsync=True),
        ssh=SshConfig(False, timedelta(seconds=20), 100, timedelta(seconds=15)),
        grant_ttl=timedelta(minutes=5),
        sessions=SessionsConfig(drain=timedelta(seconds=30), per_principal=20, per_workload=1000, total=2000),
        admins=Admins(),
    )


def test_a_whole_file_is_read_to_the_last_word(home: Path) -> None:
    config = load(home, WHOLE)
    assert config.name == "demo"
    assert config.listen == Endpoints(Address("0.0.0.0", 8443), Address("::", 2222))
    assert config.public == Endpoints(Address("gateway.example.com", 443), Address("gateway.example.com", 22))
    person, workload = config.providers
    assert person == ProviderConfig(
        issuer="https://login.example.com",
        audiences=("airtunnel-gateway",),
        client_id="airtunnel",
        client_secret="not-so-secret",
        scopes=("openid", "email", "groups"),
        token=TokenKind.ACCESS,
        flows=(LoginFlow.BROWSER, LoginFlow.DEVICE),
        claims=ClaimNames("preferred_username", "roles", ("department",)),
        ca=home / "tls/provider-ca.pem",
        binding=KeyBinding.AUTO,
    )
    assert (workload.kind, workload.client_id, workload.claims.name) == (PrincipalKind.WORKLOAD, "", "sub")
    assert config.authority.user_ca == home / "keys/user_ca"
    assert config.authority.host_ca == home / "keys/host_ca"
    assert config.authority.host_key == home / "keys/host_key"
    assert config.policy == home / "policy/shop.yaml"
    assert config.state == "postgresql://airtunnel:hunter2@db/airtunnel"
    assert config.audit == AuditConfig(Path("/var/log/airtunnel.jsonl"), required=False, fsync=False)
    assert config.ssh == SshConfig(True, timedelta(seconds=10), 7, timedelta(seconds=5))
    assert (config.grant_ttl, config.sessions.drain) == (timedelta(minutes=2), timedelta(hours=1))


def test_passwords_do_not_stand_in_a_repr(home: Path) -> None:
    shown = repr(load(home, WHOLE))
    assert "hunter2" not in shown
    assert "not-so-secret" not in shown


def test_the_gateway_is_named_after_what_clients_dial(home: Path) -> None:
    config = load(home, "public: {https: gateway.example.com:443}\n" + SMALL)
    assert config.name == "gateway.example.com"
    assert config.public.ssh == config.listen.ssh


def test_a_port_may_be_left_to_the_system(home: Path) -> None:
    assert load(home, "listen: {https: '127.0.0.1:0'}\n" + SMALL).public.https.port == 0


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:9000", "http://[::1]:9000/x", "http://localhost:9000"])
def test_an_issuer_on_loopback_may_do_without_tls(home: Path, issuer: str) -> None:
    assert load(home, SMALL.replace("https://login.example.com", f"'{issuer}'")).providers[0].issuer == issuer


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("http://login.example.com", "must be https"),
        ("http://127.0.0.1.example.com", "must be https"),
        ("http://localhost.example.com", "must be https"),
        ("ftp://login.example.com", "must be https"),
        ("login.example.com", "is not a URL like"),
        ("https://", "is not a URL like"),
        ("https://login.example.com?x=1", "is not a URL like"),
        ("https://login.example.com#x", "is not a URL like"),
        ("https://ana@login.example.com", "is not a URL like"),
        ("https://login.example.com:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
    ],
)
def test_an_issuer_that_could_be_anybody_is_refused(home: Path, issuer: str, reason: str) -> None:
    message = complaint(home, SMALL.replace("https://login.example.com", f"'{issuer}'"))
    assert message.startswith("gateway.yaml:4:13: `issuer` ")
    assert reason in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("audiences: [airtunnel-gateway]", "audiences: []", "6:16: `audiences` is an empty list"),
        (
            "audiences: [airtunnel-gateway]",
            "audience: [x]",
            "6:5: unknown key `audience` in providers; did you mean `audiences`?",
        ),
        ("    audiences: [airtunnel-gateway]\n", "", "4:5: `audiences` is missing in providers"),
        ("    client_id: airtunnel\n", "", "4:5: `client_id` is missing in providers"),
        ("client_id: airtunnel", "kind: workload", "4:3: the first of `providers` is the one people log in with"),
        (
            "client_id: airtunnel",
            "client_id: a\n    kind: persn",
            "6:11: `kind` is person or workload, not `persn`; did you mean",
        ),
        (
            "client_id: airtunnel",
            "client_id: a\n    flows: [devise]",
            "6:13: `flows` is device or browser, not `devise`; did you",
        ),
        ("client_id: airtunnel", "client_id: a\n    flows: []", "6:12: `flows` is an empty list"),
        (
            "client_id: airtunnel",
            "client_id: a\n    token: refresh",
            "6:12: `token` is access_token or id_token, not `refresh`",
        ),
        ("client_id: airtunnel", "client_id: a\n    ca: gone.pem", "6:9: `ca`: there is no file "),
        ("tls/gateway.key", "tls/gone.key", "1:42: `key`: there is no file "),
        ("policy: policy", "policy: gone", "2:9: `policy`: there is nothing at "),
        ("policy: policy", "policy: policy\nstate: 'mysql://a:hunter2@b'", "3:8: `state` is the path of an SQLite file or a"),
        ("policy: policy", "policy: policy\nssh: {keepalive: 15}", "3:18: `keepalive`: `15` is not a length of time"),
        (
            "policy: policy",
            "policy: policy\nssh: {keepalve: 15s}",
            "3:7: unknown key `keepalve` in ssh; did you mean `keepalive`?",
        ),
        ("policy: policy", "policy: policy\nlisten: {https: '0.0.0.0:1'}", "3:1: nobody can dial 0.0.0.0; say what clients"),
        ("policy: policy", "policy: policy\npublic: {ssh: '[::]:1'}", "3:10: nobody can dial ::; say what clients dial"),
        ("policy: policy", "policy: policy\nlisten: {ssh: 'unix:/x'}", "3:15: `ssh` is a host and port, not a unix socket"),
        ("policy: policy", "polcy: policy", "2:1: unknown key `polcy`; did you mean `policy`?"),
        ("policy: policy", "policy: policy\naudit: {required: yes}", "3:19: `required` is true or false"),
    ],
)
def test_what_is_wrong_is_named_at_its_place(home: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    assert complaint(home, SMALL.replace(old, new)).startswith(f"gateway.yaml:{message}")


def test_a_complaint_about_the_state_does_not_show_its_password(home: Path) -> None:
    assert "hunter2" not in complaint(home, SMALL + "state: mysql://a:hunter2@b\n")


def test_a_gateway_without_providers_is_refused(home: Path) -> None:
    message = complaint(home, "providers: []\n" + SMALL[: SMALL.index("providers")])
    assert message == "gateway.yaml:1:12: `providers` is an empty list: nobody could log in"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^gateway\.yaml: there is no such file$"):
        load_gateway(tmp_path / "gateway.yaml")
