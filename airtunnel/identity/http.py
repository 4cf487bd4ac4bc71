"""The one place where an HTTP client is made and used: TLS, limits, no redirects, and errors that name the host."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airtunnel.errors import ConfigError, ProtocolError, Temporary, Unreachable
from airtunnel.identity.answer import Answer, Json

if TYPE_CHECKING:
    import httpx2

TIMEOUT = timedelta(seconds=10)
MAX_ANSWER = 512 * 1024
"""Bytes. Large key sets and published configurations stay below 100 KiB."""


def http_client(*, ca: Path | str | None = None, timeout: timedelta = TIMEOUT) -> "httpx2.AsyncClient":
    """A client that verifies TLS, follows no redirect and obeys HTTPS_PROXY and NO_PROXY. Close it, or use `async with`.

    ca: the only authorities to trust, as the path of a PEM file or as PEM text; the system's (or SSL_CERT_FILE's) if None
    Raises ConfigError if these cannot be used.
    """
    import httpx2

    return httpx2.AsyncClient(
        verify=True if ca is None else _trusting(ca),
        timeout=timeout.total_seconds(),
        follow_redirects=False,
        limits=httpx2.Limits(max_connections=10),
        # Plain http is allowed on this machine only: sent through a proxy, its tokens would leave the machine unencrypted.
        mounts={"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None},
        # A compressed answer of a few kilobytes can unpack to gigabytes.
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "airtunnel"},
    )


async def send(
    client: "httpx2.AsyncClient",
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    body: bytes | None = None,
    bearer: str | None = None,
    headers: Mapping[str, str] | None = None,
    auth: "httpx2.Auth | None" = None,
    timeout: timedelta = TIMEOUT,
) -> Answer:
    """The answer, whatever its status, read to the end.

    form, body: what is posted, as a form or as JSON; bearer: a token to present; headers: further ones
    Raises Unreachable, naming the host, if none came within `timeout` (which counts to the last byte), or one too large;
    ProtocolError for a token or header that cannot be sent.
    """
    import httpx2

    host = urlsplit(url).netloc
    loop = asyncio.get_running_loop()
    start = loop.time()
    given = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    given |= {"Content-Type": "application/json"} if body is not None else {}
    given |= headers or {}
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()):
            # The library's own error would quote the value, which may be a token.
            raise ProtocolError(f"what should go to {host} as {name} holds characters that no header may have")
    asking = client.stream(method, url, data=form, content=body, headers=given, auth=auth)
    try:
        async with asyncio.timeout(timeout.total_seconds()), asking as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Unreachable(f"{host} sent a compressed answer that nobody asked for", hint=_look(url))
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > MAX_ANSWER:
                    raise Unreachable(f"{host} sent more than {MAX_ANSWER} bytes", hint=_look(url))
            named = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, named, bytes(received), took=timedelta(seconds=loop.time() - start))
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise Unreachable(f"{host} did not answer within {timeout.total_seconds():g} s", hint=_look(url)) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
        raise _unreachable(host, url, error) from error


async def get_json(client: "httpx2.AsyncClient", url: str, *, timeout: timedelta = TIMEOUT) -> Json:
    """The JSON object at a URL.

    Raises Temporary if the server is overloaded or failing; Unreachable if it does not answer, or has no JSON there.
    """
    answer = await send(client, "GET", url, timeout=timeout)
    if (body := answer.json()) is not None and answer.status == 200:
        return body
    raise not_found(url, answer)


def not_found(url: str, answer: Answer) -> Unreachable | Temporary:
    """The error for an answer that is not what should be at a URL."""
    parts = urlsplit(url)
    if answer.busy:
        return Temporary(f"{parts.netloc} answered HTTP {answer.status} for {parts.path}", hint=_look(url))
    if 300 <= answer.status < 400:
        return Unreachable(f"{parts.netloc} redirects {parts.path}, and redirects are not followed", hint=_look(url))
    if answer.status == 200:
        return Unreachable(f"{parts.netloc} has something other than a JSON object at {parts.path}", hint=_look(url))
    return Unreachable(f"{parts.netloc} answered HTTP {answer.status} for {parts.path}", hint=_look(url))


def _unreachable(host: str, url: str, error: Exception) -> Unreachable:
    import httpx2

    causes = list(_causes(error))
    if untrusted := next((one for one in causes if isinstance(one, ssl.SSLCertVerificationError)), None):
        return Unreachable(
            f"the certificate of {host} is not trusted: {untrusted.verify_message}",
            details=("if your company has an authority of its own: set SSL_CERT_FILE to its certificate",),
            hint=_look(url),
        )
    if any(isinstance(one, socket.gaierror) for one in causes):
        return Unreachable(f"there is no host {host}: its name has no address", hint=_look(url))
    if isinstance(error, httpx2.ProxyError):
        proxy = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "").hostname or "the proxy"
        return Unreachable(
            f"{proxy} did not let us through to {host}: {error}",
            details=("HTTPS_PROXY and NO_PROXY say which hosts are reached through a proxy",),
            hint=_look(url),
        )
    # What libraries say of a refused connection ("All connection attempts failed") helps nobody.
    refused = any(isinstance(one, ConnectionRefusedError) for one in causes)
    why = "nothing listens there" if refused else str(error) or type(error).__name__
    return Unreachable(
        f"{host} does not answer: {why}", details=("is it up, and is this the right network or VPN?",), hint=_look(url)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _look(url: str) -> str:
    parts = urlsplit(url)
    return f"curl -v {parts.scheme}://{parts.netloc}{parts.path}"


def _trusting(ca: Path | str) -> ssl.SSLContext:
    if isinstance(ca, Path):
        try:
            return ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{ca}: cannot be used as a file of certificate authorities: {error}") from error
    try:
        if "BEGIN CERTIFICATE" not in ca:
            raise ValueError("it holds no certificate")  # an empty text would leave the system's authorities trusted
        return ssl.create_default_context(cadata=ca)
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(f"the PEM text that should vouch for a server cannot be used: {error}") from error
