"""What a gateway says of itself, fetched from one host name: GET https://GATEWAY/.well-known/airtunnel."""

import re
from datetime import timedelta
from pathlib import Path

from airtunnel.errors import ProtocolError, Unreachable
from airtunnel.identity.answer import printable
from airtunnel.identity.endpoint import gateway_name, is_host, secure_url
from airtunnel.identity.http import TIMEOUT, http_client, not_found, send
from airtunnel.wire.control import WELL_KNOWN, Published

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Where a browser may bring a login's code: on this machine, and nowhere else."""
_KEY = re.compile(r"(?:ssh-ed25519|ecdsa-sha2-nistp256) [A-Za-z0-9+/]+={0,2}(?: [ -~]*)?")
TOKEN_KINDS = ("access_token", "id_token")
# RFC 3986 section 3.3: a path, and neither query nor fragment.
_PATH = re.compile(r"/[A-Za-z0-9\-._~/!$&'()*+,;=:@%]{0,200}")


async def fetch_published(gateway: str, *, ca: Path | None = None, timeout: timedelta = TIMEOUT) -> Published:
    """The gateway's published configuration. `gateway` is a host or host:port; `ca` as in `http_client`.

    Raises UsageError if that is no such name; Unreachable or Temporary, naming the host, if it does not answer or is no
    gateway; ProtocolError if what it publishes cannot be used.
    """
    name = gateway_name(gateway)
    url = f"https://{name}{WELL_KNOWN}"
    async with http_client(ca=ca, timeout=timeout) as client:
        answer = await send(client, "GET", url, timeout=timeout)
    if answer.status == 404:
        raise Unreachable(f"{name} is not an airtunnel gateway: it has nothing at {WELL_KNOWN}", hint=f"curl -v {url}")
    if answer.status != 200:
        raise not_found(url, answer)
    published = Published.decode(answer.body or b"")
    _check(published)
    return published


def _check(published: Published) -> None:
    secure_url(published.issuer, "the issuer that the gateway publishes")
    if published.token not in TOKEN_KINDS:
        raise ProtocolError(f"the gateway asks for an unknown kind of token: {published.token[:50]!a}")
    if not 0 < published.ssh_port < 65_536:
        raise ProtocolError(f"the gateway publishes an impossible SSH port: {published.ssh_port}")
    if published.browser.host not in LOOPBACK:
        raise ProtocolError(f"the gateway sends a login's answer to another machine: {published.browser.host[:200]!a}")
    if not _PATH.fullmatch(published.browser.path):
        raise ProtocolError(f"the gateway publishes a path that no browser can come back to: {published.browser.path[:200]!a}")
    for shown in (published.name, published.ssh_host, published.version):
        if shown != printable(shown) or len(shown) > 255:
            raise ProtocolError(f"the gateway publishes a name that cannot be shown: {shown[:50]!a}")
    # These stand in files that `ssh` reads: a second line, or an option, would be the gateway's word on this machine.
    if not is_host(published.ssh_host):
        raise ProtocolError(f"the gateway publishes a host for ssh that is none: {published.ssh_host[:50]!a}")
    if not all(_KEY.fullmatch(line) for line in published.host_cas):
        raise ProtocolError("the gateway publishes a CA that is not one public key in OpenSSH's format")
