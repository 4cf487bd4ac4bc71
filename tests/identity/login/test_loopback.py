import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from airtunnel.errors import AddressTaken
from airtunnel.identity.login import loopback
from airtunnel.identity.login.loopback import MOST, Loopback, Request, read_request
from airtunnel.identity.login.page import DONE, Page
from airtunnel.model import BrowserClient

GOOD = "code=c&state=right"


def is_right(query: str) -> bool:
    return "state=right" in query


@pytest.fixture
async def listener() -> AsyncIterator[Loopback]:
    async with Loopback.open(BrowserClient(), is_right) as listener:
        yield listener


def at(listener: Loopback) -> tuple[str, int]:
    parts = urlsplit(listener.redirect_uri)
    return parts.hostname or "", parts.port or 80


async def said(listener: Loopback, raw: bytes) -> bytes:
    """Everything that comes back for some bytes, until the connection is closed."""
    reader, writer = await asyncio.open_connection(*at(listener))
    writer.write(raw)
    if writer.can_write_eof():
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def get(listener: Loopback, target: str = f"/callback?{GOOD}", *more: str, host: str | None = None) -> bytes:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host or '{}:{}'.format(*at(listener))}", *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def test_the_browser_brings_its_answer_and_is_told_how_the_login_ended(listener: Loopback) -> None:
    asking = asyncio.ensure_future(said(listener, get(listener)))
    assert await listener.returned() == GOOD
    assert not asking.done()
    listener.finish(Page("You are not logged in", "because <script>alert('x')</script> & \x1b[2J\u202e", good=False))
    head, _, body = (await asking).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    for header in (
        b"Content-Security-Policy: default-src 'none'; style-src 'sha256-",
        b"Cache-Control: no-store",
        b"Referrer-Policy: no-referrer",
        b"X-Content-Type-Options: nosniff",
        b"Connection: close",
        b"Content-Type: text/html; charset=utf-8",
    ):
        assert header in head
    assert b"<h1>You are not logged in</h1>" in body
    assert b"because &lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; [2J" in body
    assert b"<script" not in body
    assert b"\x1b" not in body


async def test_a_second_look_at_the_same_answer_sees_the_same_page_and_another_answer_is_not_taken(listener: Loopback) -> None:
    first, again = (asyncio.ensure_future(said(listener, get(listener))) for _ in range(2))
    await listener.returned()
    assert b"409 Conflict" in await said(listener, get(listener, "/callback?code=other&state=right"))
    listener.finish(DONE)
    assert await listener.returned() == GOOD
    assert await first == await again
    assert b"You are logged in" in await first


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/favicon.ico", None, 404),
        ("/", None, 404),
        (f"/callback/?{GOOD}", None, 404),
        (f"/Callback?{GOOD}", None, 404),
        (f"//evil.example/callback?{GOOD}", None, 404),
        ("/callback?code=c&state=wrong", None, 400),
        ("/callback", None, 400),
        (f"/callback?{GOOD}", "evil.example", 421),
        (f"/callback?{GOOD}", "127.0.0.1", 421),
        (f"/callback?{GOOD}", "127.0.0.1:1", 421),
        (f"/callback?{GOOD}", "localhost:{port}", 421),
        (f"/callback?{GOOD}", "127.0.0.1.evil.example:{port}", 421),
        (f"http://127.0.0.1/callback?{GOOD}", None, 400),
        (f"/callback?{GOOD} x", None, 400),
        (f"/callback?{GOOD}\xe9", None, 400),
    ],
)
async def test_a_stray_page_is_turned_away_and_cannot_end_the_login(
    listener: Loopback, target: str, host: str | None, status: int
) -> None:
    host = None if host is None else host.format(port=at(listener)[1])
    assert (await said(listener, get(listener, target, host=host))).startswith(f"HTTP/1.1 {status} ".encode())
    await still_waits(listener)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /callback?%s HTTP/1.1\r\nHost: {}\r\n\r\n", 400),
        (b"HEAD /callback?%s HTTP/1.1\r\nHost: {}\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\nHost: {}\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\nno header\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost : {}\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\n folded: x\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\nX: a\rb\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /callback?%s\r\nHost: {}\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/2.0\r\nHost: {}\r\n\r\n", 400),
        (b"get /callback?%s HTTP/1.1\r\nHost: {}\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\nCookie: " + b"c" * 9 * 1024 + b"\r\n\r\n", 431),
        (b"G" * 9 * 1024, 431),
        (b"GET /callback?%s HTTP/1.1\r\nHost: {}\r\n", None),
        (b"", None),
    ],
)
async def test_a_request_that_no_browser_sends_is_turned_away(listener: Loopback, raw: bytes, status: int | None) -> None:
    raw = raw.replace(b"%s", GOOD.encode()).replace(b"{}", "{}:{}".format(*at(listener)).encode())
    answer = await said(listener, raw)
    assert answer == b"" if status is None else answer.startswith(f"HTTP/1.1 {status} ".encode())
    await still_waits(listener)


async def still_waits(listener: Loopback) -> None:
    """That the listener has taken nothing yet, and takes what is right."""
    asking = asyncio.ensure_future(said(listener, get(listener)))
    assert await listener.returned() == GOOD
    listener.finish(DONE)
    assert b"200 OK" in await asking


async def test_who_connects_and_says_nothing_keeps_no_browser_out(listener: Loopback) -> None:
    idle = [await asyncio.open_connection(*at(listener)) for _ in range(3 * MOST)]
    for _, writer in idle:
        writer.write(b"GET /callback?code=")
    async with asyncio.timeout(2):  # long before those are given up
        await still_waits(listener)
        assert await idle[0][0].read() == b""
    for _, writer in idle:
        writer.close()


async def test_a_connection_that_is_slow_is_given_up(listener: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "PATIENCE", timedelta(milliseconds=50))
    reader, writer = await asyncio.open_connection(*at(listener))
    writer.write(b"GET /callback?code=c")
    assert await reader.read() == b""
    writer.close()


async def test_whoever_does_not_read_their_page_does_not_keep_the_listener_open(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(5):
        async with Loopback.open(BrowserClient(), is_right) as listener:
            _, writer = await asyncio.open_connection(*at(listener))
            writer.write(get(listener))
            await listener.returned()
        writer.close()
    assert caplog.text == ""


async def test_a_connection_in_reserve_does_not_keep_the_listener_open(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(0.9):  # less than what a page has to be taken
        async with Loopback.open(BrowserClient(), is_right) as listener:
            reader, writer = await asyncio.open_connection(*at(listener))
            await still_waits(listener)
        assert await reader.read() == b""
        writer.close()
    assert caplog.text == ""


async def test_a_closed_listener_says_that_the_login_is_over_and_gives_the_port_back() -> None:
    async with Loopback.open(BrowserClient(), is_right) as listener:
        asking = asyncio.ensure_future(said(listener, get(listener)))
        await listener.returned()
        host, port = at(listener)
    assert b"This login is over" in await asking
    with socket.create_server((host, port)):
        pass


async def test_the_address_is_of_the_published_host_and_path() -> None:
    for host in ("127.0.0.1", "localhost"):
        async with Loopback.open(BrowserClient(host=host, path="/a/b"), is_right) as listener:
            assert listener.redirect_uri == f"http://{host}:{at(listener)[1]}/a/b"
            assert b"404" in await said(listener, get(listener))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_localhost_is_listened_at_by_both_of_its_addresses(address: str) -> None:
    async with Loopback.open(BrowserClient(host="localhost"), is_right) as listener:
        port = at(listener)[1]
        try:
            reader, writer = await asyncio.open_connection(address, port)
        except OSError as error:
            if address == "::1" and not socket.has_ipv6:
                pytest.skip(f"no IPv6 here: {error}")
            raise
        writer.write(get(listener, "/", host=f"localhost:{port}"))
        assert b"404 Not Found" in await reader.read()
        writer.close()


async def test_the_first_free_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = (taken.getsockname()[1], free.getsockname()[1])
        free.close()
        async with Loopback.open(BrowserClient(ports=ports), is_right) as listener:
            assert at(listener)[1] == ports[1]


async def test_a_port_that_somebody_else_holds_for_ipv6_is_not_taken_for_localhost() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTaken):
            async with Loopback.open(BrowserClient(ports=(port,), host="localhost"), is_right):
                pass


async def test_without_a_free_port_the_ports_are_named_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = (one.getsockname()[1], two.getsockname()[1])
        with pytest.raises(AddressTaken) as caught:
            async with Loopback.open(BrowserClient(ports=ports), is_right, "airtunnel login gw --flow device"):
                pass
    for port in ports:
        assert f"127.0.0.1:{port}: address already in use" in caught.value.message
    assert f"`lsof -nP -sTCP:LISTEN -iTCP:{ports[0]} -iTCP:{ports[1]}`" in caught.value.details[0]
    assert caught.value.hint == "airtunnel login gw --flow device"


def test_a_request_is_read_whole() -> None:
    head = b"GET /callback?a=b?c HTTP/1.1\r\nHost:\t127.0.0.1:8 \r\nX-Empty:\r\nCookie: a=\xe9\r\n\r\n"
    whole = Request("GET", "/callback", "a=b?c", "127.0.0.1:8")
    assert read_request(head) == whole
    assert whole not in [read_request(head[:cut]) for cut in range(head.index(b" \r\nX-"))]
