"""The entries of `providers:`: what each preset fills in, what may be written instead, and what is refused."""

from pathlib import Path

import pytest

from airtunnel.config.gateway import LoginFlow, ProviderConfig, TokenKind, load_gateway
from airtunnel.config.presets import PRESETS
from airtunnel.errors import ConfigError
from airtunnel.identity.verify.groups import read_groups
from airtunnel.model import BrowserClient, KeyBinding, PrincipalKind
from airtunnel.policy.load import load_policy
from tests.readme import blocks

HEAD = "tls: {certificate: gateway.pem, key: gateway.key}\npolicy: policy.yaml\n"
PERSON = "  - {issuer: 'https://sso.example.com', client_id: airtunnel, audiences: [gateway]}\n"
TENANT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("gateway.pem", "gateway.key", "policy.yaml", "groups.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def load(home: Path, entries: str) -> tuple[ProviderConfig, ...]:
    (home / "gateway.yaml").write_text(f"{HEAD}providers:\n{entries}\n")
    return load_gateway(home / "gateway.yaml").providers


def person(home: Path, fields: str) -> ProviderConfig:
    return load(home, f"  - {{{fields}}}")[0]


def workload(home: Path, fields: str) -> ProviderConfig:
    return load(home, f"{PERSON}  - {{{fields}}}")[1]


def complaint(home: Path, entries: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(home, entries)
    return caught.value.message


# --- what presets fill in -------------------------------------------------------------------------------------------------


def test_okta_needs_a_domain_and_a_client(home: Path) -> None:
    okta = person(home, "provider: okta, domain: acme.okta.com, client_id: 0oa1")
    assert okta.issuer == "https://acme.okta.com/oauth2/default"
    assert okta.audiences == ("api://default",)
    assert (okta.token, okta.flows) == (TokenKind.ACCESS, (LoginFlow.DEVICE, LoginFlow.BROWSER))
    assert (okta.claims.subject, okta.claims.name, okta.claims.groups) == ("uid", "sub", "groups")
    assert okta.browser == BrowserClient(ports=(8000, 18000))


def test_oktas_other_servers_say_their_audience(home: Path) -> None:
    fields = "provider: okta, issuer: 'https://acme.okta.com/oauth2/aus1', client_id: 0oa1"
    assert "`audiences` is missing" in complaint(home, f"  - {{{fields}}}")
    assert person(home, f"{fields}, audiences: [x]").audiences == ("x",)


def test_oktas_own_server_gives_id_tokens_only(home: Path) -> None:
    fields = "provider: okta, issuer: 'https://acme.okta.com', client_id: 0oa1"
    assert "for Okta alone: `token: id_token`" in complaint(home, f"  - {{{fields}}}")
    okta = person(home, f"{fields}, token: id_token")
    assert (okta.audiences, okta.claims.name, okta.claims.subject) == (("0oa1",), "preferred_username", "sub")


def test_google_takes_its_id_tokens_of_one_domain(home: Path) -> None:
    google = person(home, "provider: google, client_id: g, client_secret: s, required: {hd: example.com}, binding: nonce")
    assert google.issuer == "https://accounts.google.com"
    assert (google.token, google.audiences, google.flows) == (TokenKind.ID, ("g",), (LoginFlow.BROWSER,))
    assert "offline_access" not in google.scopes
    assert google.required == {"hd": ("example.com",)}
    assert google.binding is KeyBinding.NONCE


def test_an_issuer_that_is_everybodys_must_say_whose_tokens_are_taken(home: Path) -> None:
    message = complaint(home, "  - {provider: google, client_id: g}")
    assert message.startswith("gateway.yaml:4:5: anybody with a Google account can have a token for this gateway")
    assert "`required: {hd: example.com}`, or `required: {}`" in message
    assert person(home, "provider: google, client_id: g, required: {}").required == {}
    for one, whose in (("github", "every workflow on GitHub"), ("gitlab", "on gitlab.com"), ("gcp", "of Google Cloud")):
        assert whose in complaint(home, f"{PERSON}  - {{provider: {one}, audiences: [gateway]}}")


def test_an_issuer_of_ones_own_need_not(home: Path) -> None:
    gitlab = workload(home, "provider: gitlab, issuer: 'https://gitlab.example.com', audiences: [gateway]")
    assert (gitlab.issuer, gitlab.required) == ("https://gitlab.example.com", {})


def test_google_wants_a_client_for_each_flow(home: Path) -> None:
    both = "provider: google, client_id: tv, flows: [browser, device], required: {hd: a}"
    assert "wants a client of its own for each flow" in complaint(home, f"  - {{{both}}}")
    google = person(home, f"{both}, browser: {{client_id: desktop, client_secret: s}}")
    assert google.audiences == ("tv", "desktop")
    assert google.client_ids == ("tv", "desktop")


def test_entra_is_made_of_the_tenants_id(home: Path) -> None:
    entra = person(home, f"provider: entra, tenant: {TENANT.upper()}, client_id: e")
    assert entra.issuer == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    assert (entra.token, entra.audiences) == (TokenKind.ID, ("e",))
    assert (entra.claims.subject, entra.claims.name, entra.claims.groups) == ("oid", "preferred_username", "roles")
    assert entra.flows[0] is LoginFlow.BROWSER
    assert entra.browser.host == "localhost"


def test_auth0s_issuer_ends_in_a_slash_and_its_audience_is_asked_for(home: Path) -> None:
    fields = "provider: auth0, domain: acme.eu.auth0.com, client_id: a, audiences: ['https://gateway', other]"
    auth0 = person(home, fields)
    assert auth0.issuer == "https://acme.eu.auth0.com/"
    assert auth0.request == {"audience": "https://gateway"}
    assert auth0.claims.groups == "https://airtunnel/groups"
    more = person(home, f"{fields}, request: {{organization: org_1, audience: other}}")
    assert more.request == {"organization": "org_1", "audience": "other"}
    identity = person(home, "provider: auth0, domain: acme.eu.auth0.com, client_id: a, token: id_token")
    assert (identity.request, identity.claims.name) == ({}, "email")


def test_a_workload_needs_no_client_and_keeps_claims_for_rules(home: Path) -> None:
    pods = workload(home, "provider: kubernetes, issuer: 'https://k.example.com', audiences: [gateway]")
    assert (pods.kind, pods.client_ids, pods.claims.name) == (PrincipalKind.WORKLOAD, (), "sub")
    for name, preset in PRESETS.items():
        if preset.kind is PrincipalKind.WORKLOAD:
            assert preset.claims.keep, name


def test_what_is_written_wins_over_the_preset(home: Path) -> None:
    claims = "claims: {subject: sub, name: email, groups: wids, keep: [dept]}"
    entra = person(home, f"provider: entra, tenant: {TENANT}, client_id: e, scopes: [openid], flows: [device], {claims}")
    assert (entra.scopes, entra.flows) == (("openid",), (LoginFlow.DEVICE,))
    assert (entra.claims.subject, entra.claims.name, entra.claims.groups, entra.claims.keep) == (
        "sub",
        "email",
        "wids",
        ("dept",),
    )


def test_every_field_is_read(home: Path) -> None:
    text = """\
  - issuer: https://sso.example.com
    client_id: airtunnel
    audiences: gateway
    clients: [legacy]
    flows: [browser, device, browser]
    browser: {ports: [0, 8000], host: "::1", path: /back, client_id: desktop, client_secret: s}
    request: {prompt: consent}
    endpoints: {jwks_uri: "https://keys.example.com/k?v=1", token_endpoint: "http://127.0.0.1:1/t"}
    pages: [Login.Example.com]
    binding: auto
    required: {hd: [example.com, example.org], tid: x}
    groups_file: groups.yaml
"""
    config = load(home, text)[0]
    assert config.client_ids == ("airtunnel", "desktop", "legacy")
    assert config.flows == (LoginFlow.BROWSER, LoginFlow.DEVICE)
    assert config.browser == BrowserClient((0, 8000), "::1", "/back", "desktop", "s")
    assert config.request == {"prompt": "consent"}
    assert config.endpoints == {"jwks_uri": "https://keys.example.com/k?v=1", "token_endpoint": "http://127.0.0.1:1/t"}
    assert config.pages == ("login.example.com",)
    assert config.binding is KeyBinding.AUTO
    assert config.required == {"hd": ("example.com", "example.org"), "tid": ("x",)}
    assert config.groups_file == home / "groups.yaml"


# --- what is refused ------------------------------------------------------------------------------------------------------

OWN = "issuer: 'https://sso.example.com', client_id: a, audiences: [g]"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("provider: goggle, client_id: a", "`provider` is one of oidc, okta, google, entra, keycloak, auth0, cognito, "),
        ("provider: goggle, client_id: a", "not `goggle`; did you mean `google`?"),
        ("provider: okta, client_id: a", "`domain` is missing in providers"),
        ("provider: okta, domian: x, client_id: a", "unknown key `domian` in providers; did you mean `domain`?"),
        ("provider: okta, domain: 'https://acme.okta.com', client_id: a", "`domain` is like acme.example.com, not `https://"),
        ("provider: okta, domain: a.b, issuer: 'https://a.b', client_id: a", "`domain` and `issuer` say the same thing"),
        ("provider: entra, tenant: acme.com, client_id: a", "`tenant` is like 11111111-2222-3333-4444-555555555555, not"),
        (
            "provider: entra, issuer: 'https://login.microsoftonline.com/common/v2.0', client_id: a",
            "an issuer of Entra ID's that holds no tenant's id is everybody's",
        ),
        ("provider: keycloak, client_id: a", "`issuer` is missing in providers"),
        ("provider: google, client_id: a, required: {}, token: access_token", "can be read by Google alone"),
        ("provider: cognito, issuer: 'https://c', client_id: a, token: access_token", "name no audience: `token: id_token`"),
        ("provider: cognito, issuer: 'https://c', client_id: a, flows: [device]", "Cognito has no device flow"),
        ("provider: okta, domain: a.b, client_id: a, browser: {ports: [0]}", "okta compares addresses to the letter"),
        ("provider: kubernetes, kind: person, issuer: 'https://k', audiences: [g]", "kubernetes speaks for workloads"),
        (f"{OWN}, token: id_token", "an ID token is made for its client: `audiences` lacks a"),
        (f"{OWN}, token: id_token, binding: dpop", "`binding: dpop` ties an access token to a key"),
        (f"{OWN}, token: id_token, binding: auto", "`binding: auto` ties an access token to a key"),
        (f"{OWN}, binding: nonce, flows: [browser]", "it needs `token: id_token`"),
        (
            "issuer: 'https://s', client_id: a, token: id_token, binding: nonce, flows: [browser, device]",
            "needs `flows: [browser]`: no device flow brings a nonce back",
        ),
        (f"{OWN}, binding: dpopp", "`binding` is none or auto or dpop or nonce, not `dpopp`; did you mean `dpop`?"),
        (f"{OWN}, browser: {{ports: [1]}}", "`browser` has no meaning where `flows` has no browser"),
        (f"{OWN}, flows: [browser], browser: {{host: example.com}}", "a login comes back to the machine it began on"),
        (f"{OWN}, flows: [browser], browser: {{ports: [65536]}}", "`65536` is not a port; 0 is any free one"),
        (f"{OWN}, flows: [browser], browser: {{path: callback}}", "`path` is like /callback"),
        (f"{OWN}, flows: [browser], browser: {{prots: [1]}}", "unknown key `prots` in browser; did you mean `ports`?"),
        (f"{OWN}, request: {{redirect_uri: x}}", "`redirect_uri` is airtunnel's own part of a login"),
        (f"{OWN}, request: {{Nonce: x}}", "`Nonce` is airtunnel's own part of a login"),
        (f"{OWN}, endpoints: {{jwks_url: 'https://x'}}", "unknown key `jwks_url` in endpoints; did you mean `jwks_uri`?"),
        (f"{OWN}, endpoints: {{jwks_uri: 'http://x'}}", "`jwks_uri` must be https"),
        (f"{OWN}, pages: ['https://x']", "`pages` are names of hosts like login.example.com"),
        (f"{OWN}, groups_file: gone.yaml", "`groups_file`: there is no file"),
        (f"{OWN}, required: {{hd: []}}", "`hd` is an empty list"),
        (f"{OWN}, claims: {{subjct: x}}", "unknown key `subjct` in claims; did you mean `subject`?"),
        (f"{OWN}, client_secret: a, client_secret_file: groups.yaml", "`client_secret_file`"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_with_what_to_write(home: Path, fields: str, reason: str) -> None:
    message = complaint(home, f"  - {{{fields}}}")
    assert message.startswith("gateway.yaml:4:")
    assert reason in message


@pytest.mark.parametrize("key", ["client_id: a", "flows: [device]", "binding: none", "scopes: [openid]", "pages: [a.b]"])
def test_a_workload_has_nothing_of_a_persons_login(home: Path, key: str) -> None:
    entry = f"{PERSON}  - {{provider: kubernetes, issuer: 'https://k', audiences: [g], {key}}}"
    assert "is about people's logins, and a workload has none" in complaint(home, entry)


def test_a_workloads_audience_is_not_its_issuer(home: Path) -> None:
    entry = f"{PERSON}  - {{provider: kubernetes, issuer: 'https://k', audiences: ['https://k']}}"
    assert "an audience that is the issuer itself" in complaint(home, entry)


# --- one issuer, twice ----------------------------------------------------------------------------------------------------

SAME = "  - {{kind: workload, issuer: 'https://sso.example.com', audiences: [{audience}]{more}}}\n"


@pytest.mark.parametrize(
    ("audience", "more"),
    [("other", ", required: {type: worker}"), ("other", ", clients: [worker]"), ("gateway", ", clients: [worker]")],
)
def test_an_issuer_may_stand_twice_if_its_tokens_can_be_told_apart(home: Path, audience: str, more: str) -> None:
    assert len(load(home, PERSON + SAME.format(audience=audience, more=more))) == 2


@pytest.mark.parametrize("more", ["", ", clients: [airtunnel]", ", clients: [worker, airtunnel]"])
def test_workloads_beside_people_name_their_clients(home: Path, more: str) -> None:
    message = complaint(home, PERSON + SAME.format(audience="other", more=more))
    assert message.startswith("gateway.yaml:4:3: people and workloads are both known by https://sso.example.com")


@pytest.mark.parametrize("more", [", required: {type: worker}", ", required: {type: worker}, clients: [airtunnel]"])
def test_an_issuer_stands_not_twice_for_the_same_tokens(home: Path, more: str) -> None:
    message = complaint(home, PERSON + SAME.format(audience="gateway", more=more))
    assert message.startswith("gateway.yaml:4:3: the issuer https://sso.example.com stands in `providers` twice")
    assert "could be of either" in message


@pytest.mark.parametrize(
    "entry",
    [
        "{kind: workload, issuer: 'https://token.actions.githubusercontent.com', audiences: [gw]}",
        "{provider: gitlab, issuer: 'https://token.actions.githubusercontent.com', audiences: [gw]}",
        "{kind: workload, issuer: 'https://accounts.google.com', audiences: [gw]}",
    ],
)
def test_everybodys_issuer_needs_required_under_any_name(home: Path, entry: str) -> None:
    assert "say whose you take" in complaint(home, f"{PERSON}  - {entry}\n")


# --- secrets --------------------------------------------------------------------------------------------------------------


def secret(home: Path, data: bytes, mode: int = 0o600) -> str:
    path = home / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return f"{OWN}, client_secret_file: secret"


def test_a_secret_comes_from_a_file_that_nobody_else_may_read(home: Path) -> None:
    config = person(home, secret(home, b"GOCSPX-x\n"))
    assert config.client_secret == "GOCSPX-x"
    assert "GOCSPX" not in repr(config)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o622])
def test_a_secret_that_others_may_read_is_refused(home: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="may be read by others") as caught:
        person(home, secret(home, b"GOCSPX-x\n", mode))
    assert caught.value.hint == f"chmod 600 {home / 'secret'}"


@pytest.mark.parametrize("data", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 5000])
def test_a_file_without_one_line_of_text_is_no_secret(home: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match="does not hold one line of text") as caught:
        person(home, secret(home, data))
    assert "lines" not in caught.value.message.replace("one line of text", "")


# --- the README -----------------------------------------------------------------------------------------------------------


def test_every_block_of_the_readmes_recipes_is_read(home: Path) -> None:
    targets = "targets:\n  postgres-prod: {protocol: tcp, address: 'db:5432'}\n"
    kinds = []
    for _, body in blocks("Connect your identity provider"):
        kinds.append(body.split(":")[0].removeprefix("# "))
        if body.startswith("providers:"):
            load(home, body.removeprefix("providers:\n"))
        elif body.startswith("rules:"):
            (home / "policy.yaml").write_text(targets + body)
            assert len(load_policy(home / "policy.yaml").rules) == 6
        else:
            (home / "groups.yaml").write_text(body)
            assert read_groups(home / "groups.yaml")["ana@example.com"] == ("data-eng", "on-call")
    assert kinds.count("providers") == 9
    assert kinds.count("rules") == 1


def test_every_preset_has_a_recipe(home: Path) -> None:
    text = "".join(body for _, body in blocks("Connect your identity provider"))
    assert {name for name in PRESETS if name != "oidc"} == {name for name in PRESETS if f"provider: {name}\n" in text}
