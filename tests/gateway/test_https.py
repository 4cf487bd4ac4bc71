"""The HTTPS server in front of strangers."""

import asyncio
import contextlib
import ssl
from datetime import timedelta

import pytest

from airtunnel.gateway import https
from airtunnel.identity.http import http_client
from tests.lab import Lab, Site


async def connect(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has done its TLS and said nothing yet."""
    context = ssl.create_default_context(cafile=str(site.ca))
    return await asyncio.open_connection("127.0.0.1", site.gateway.https_port, ssl=context, server_hostname="127.0.0.1")


@pytest.mark.parametrize("words", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["silent", "half a request"])
async def test_who_asks_nothing_is_let_go(lab: Lab, monkeypatch: pytest.MonkeyPatch, words: bytes) -> None:
    monkeypatch.setattr(https, "REQUEST_LIMIT", timedelta(seconds=0.5))
    async with lab.gateway() as site:
        reader, writer = await connect(site)
        writer.write(words)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert await reader.read() == b""
        writer.close()


async def test_a_request_that_comes_in_time_is_answered(lab: Lab) -> None:
    async with lab.gateway() as site:
        reader, writer = await connect(site)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_nobody_chooses_the_address_that_the_audit_has(lab: Lab) -> None:
    async with lab.gateway() as site, http_client(ca=site.ca) as client:
        url = f"https://{site.address}/v1/targets"
        headers = {"Authorization": "Bearer rubbish", "X-Forwarded-For": "10.99.99.99"}
        assert (await client.get(url, headers=headers)).status_code == 401
        assert [one["client_ip"] for one in site.records("token.rejected")] == ["127.0.0.1"]


async def test_rejected_tokens_do_not_fill_the_disk(lab: Lab) -> None:
    async with lab.gateway() as site, http_client(ca=site.ca) as client:
        url = f"https://{site.address}/v1/targets"
        for _ in range(60):
            assert (await client.get(url, headers={"Authorization": "Bearer rubbish"})).status_code == 401
        assert 20 <= len(site.records("token.rejected")) < 50


async def test_a_second_request_must_hurry_as_well(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "REQUEST_LIMIT", timedelta(seconds=0.5))
    async with lab.gateway() as site:
        reader, writer = await connect(site)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        writer.write(b"G")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while await reader.read(1024):
                    pass
        writer.close()


async def test_who_never_begins_tls_is_gone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "REQUEST_LIMIT", timedelta(seconds=0.5))
    async with lab.gateway() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.gateway.https_port)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_the_host_header_says_nothing_of_the_path(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        for host in (b"[", b"x/v1/grants?", b"x:99999", b"a b", b"\xff"):
            reader, writer = await connect(site)
            writer.write(b"GET /v1/targets HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
            status = await asyncio.wait_for(reader.readline(), 5)
            assert status.split()[1] in (b"401", b"400")
            writer.close()
        assert "Traceback" not in caplog.text
        assert not [one for one in caplog.records if one.exc_info]
