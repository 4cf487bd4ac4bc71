"""What an entry of `providers:` says of people's logins: their client, their flows, and what goes with a login."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from airtunnel.config.document import Node, fault
from airtunnel.config.presets import OIDC, LoginFlow, Preset, TokenKind
from airtunnel.config.table import Table, choice, each, file, some, text, texts, whole
from airtunnel.config.url import HOST, is_loopback
from airtunnel.config.values import cut
from airtunnel.model import RESERVED, BrowserClient, KeyBinding

T = TypeVar("T")

_PEOPLE_ONLY = ("client_id", "client_secret", "client_secret_file", "scopes", "flows", "browser", "request", "pages", "binding")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,100}")


@dataclass(frozen=True, slots=True)
class Login:
    """What an entry says of people's logins."""

    client_id: str = ""
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = OIDC.scopes
    flows: tuple[LoginFlow, ...] = OIDC.flows
    browser: BrowserClient = field(default_factory=BrowserClient)
    request: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[str, ...] = ()
    binding: KeyBinding = KeyBinding.NONE


def no_login(table: Table) -> Login:
    """An entry about workloads. Raises ConfigError for what is about people."""
    for key in _PEOPLE_ONLY:
        if key in table:
            hint = "; for the clients whose tokens are accepted: `clients: [...]`" if key == "client_id" else ""
            raise table.fault(key, f"`{key}` is about people's logins, and a workload has none{hint}")
    return Login()


def read_login(table: Table, preset: Preset, token: TokenKind) -> Login:
    """An entry about people. Raises ConfigError."""
    client_id = table.need("client_id", text)
    flows = table.take("flows", _flows, preset.flows)
    for flow in flows:
        check_usable(table, preset, "flows", flow)
    if "browser" in table and LoginFlow.BROWSER not in flows:
        raise table.fault("browser", "`browser` has no meaning where `flows` has no browser")
    browser = table.take("browser", whole(lambda inner: _browser(inner, preset)), preset.browser)
    if preset.two_clients and len(set(flows)) > 1 and browser.client_id in (None, client_id):
        raise table.fault(
            "flows",
            f"{preset.name} wants a client of its own for each flow: "
            "`client_id` is the device flow's, and `browser: {client_id: ...}` the other's",
        )
    return Login(
        client_id=client_id,
        client_secret=_secret(table),
        scopes=table.take("scopes", texts, preset.scopes),
        flows=flows,
        browser=browser,
        request=table.take("request", _request, {}),
        pages=table.take("pages", some(_page), preset.pages),
        binding=_binding(table, token, flows),
    )


def check_usable(table: Table, preset: Preset, key: str, word: str) -> None:
    """Raises ConfigError at `key` for a token or flow that this provider has not."""
    for unusable, reason in preset.unusable:
        if word == unusable:
            raise table.fault(key, reason)


def _binding(table: Table, token: TokenKind, flows: tuple[LoginFlow, ...]) -> KeyBinding:
    usual = KeyBinding.AUTO if token is TokenKind.ACCESS else KeyBinding.NONE
    binding = table.take("binding", choice(KeyBinding), usual)
    match binding:
        case KeyBinding.NONCE if token is not TokenKind.ID:
            raise table.fault("binding", "`binding: nonce` ties an ID token to a key: it needs `token: id_token`")
        case KeyBinding.NONCE if flows != (LoginFlow.BROWSER,):
            raise table.fault("binding", "`binding: nonce` needs `flows: [browser]`: no device flow brings a nonce back")
        case KeyBinding.DPOP | KeyBinding.AUTO if token is not TokenKind.ACCESS:
            raise table.fault("binding", f"`binding: {binding}` ties an access token to a key: it needs `token: access_token`")
    return binding


def own_keys(node: Node, read: Callable[[Node], T]) -> Mapping[str, T]:
    """A table whose keys are the writer's own."""
    return {text(key): read(value) for key, value in Table(node).entries()}


def _flows(node: Node) -> tuple[LoginFlow, ...]:
    if not (flows := each(choice(LoginFlow))(node)):
        raise fault(node, "`flows` is an empty list: nobody could log in")
    return tuple(dict.fromkeys(flows))


def _browser(table: Table, preset: Preset) -> BrowserClient:
    plain = preset.browser
    ports = table.take("ports", some(_port), plain.ports)
    if preset.exact_ports and 0 in ports:
        raise table.fault("ports", f"{preset.name} compares addresses to the letter: name ports, and register each of them")
    host = table.take("host", text, plain.host)
    if not is_loopback(host):
        raise table.fault("host", "`host` is 127.0.0.1, ::1 or localhost: a login comes back to the machine it began on")
    path = table.take("path", text, plain.path)
    if not _PATH.fullmatch(path):
        raise table.fault("path", "`path` is like /callback")
    return BrowserClient(ports, host, path, table.take("client_id", text, plain.client_id), _secret(table))


def _port(node: Node) -> int:
    digits = text(node)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5 or int(digits) > 65_535:
        raise fault(node, f"`{cut(digits)}` is not a port; 0 is any free one")
    return int(digits)


def _request(node: Node) -> Mapping[str, str]:
    parameters = own_keys(node, text)
    for key, _ in Table(node).entries():
        if key.text.lower() in RESERVED:
            raise fault(key, f"`{key.text}` is airtunnel's own part of a login and cannot be set here")
    return parameters


def _page(node: Node) -> str:
    host = text(node).lower()
    if not HOST.fullmatch(host):
        raise fault(node, f"`pages` are names of hosts like login.example.com, not `{cut(host)}`")
    return host


def _secret(table: Table) -> str | None:
    """`client_secret`, or what is in the file of `client_secret_file`."""
    written = table.take("client_secret", text, None)
    stored = table.take("client_secret_file", _secret_text, None)
    if written is not None and stored is not None:
        raise table.fault("client_secret_file", "`client_secret` and `client_secret_file` are the same thing: keep one")
    return written or stored


def _secret_text(node: Node) -> str:
    """The only line of a file that nobody else may read."""
    where = file(node)
    try:
        with where.open("rb") as opened:
            found = os.fstat(opened.fileno())
            data = opened.read(4097)
    except OSError as error:
        raise fault(node, f"`{node.key}`: {where} cannot be read: {error.strerror}") from error
    # Root's files may be read by a group: so does Kubernetes mount secrets.
    if found.st_mode & (0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077):
        raise fault(node, f"`{node.key}`: {where} may be read by others", hint=f"chmod 600 {where}")
    secret = data.decode("utf-8", "replace").rstrip("\r\n")
    if not secret or not secret.isprintable() or "\ufffd" in secret or len(data) > 4096:
        raise fault(node, f"`{node.key}`: {where} does not hold one line of text")
    return secret
