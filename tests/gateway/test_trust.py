"""A gateway that runs takes up new keys; what nobody trusts any more gets nobody in."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import AirtunnelError, Temporary
from airtunnel.gateway.authority import Authority, create_keys, load_authority
from airtunnel.gateway.ca import Files
from airtunnel.gateway.rotation import Step, rotate
from airtunnel.gateway.trust import changes, stamp_keys, take_keys
from airtunnel.identity.published import fetch_published
from airtunnel.model import Tags
from airtunnel.tunnel.link import open_link
from airtunnel.tunnel.tunnels import Tunnels
from tests.gateway.guests import connect, granted, login_of
from tests.lab import Lab, Site
from tests.ssh_agent import ssh_agent

LIMIT = 10.0
"""Seconds: a look a second, and a machine that may be busy."""
MISSING = "what is missing is as before"


async def until(ask: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not ask():
            await asyncio.sleep(0.02)


async def turn(site: Site, which: str) -> Step:
    """The next step of a rotation, taken up by the gateway."""
    known = len(site.records("authority.changed"))
    step, _ = rotate(site.directory / "authority" / which, None)
    await until(lambda: len(site.records("authority.changed")) > known and holds(site))
    return step


def holds(site: Site) -> bool:
    """What was written down last holds: it does so a moment later."""
    now = site.gateway.service.authority
    phrases = (f"user CA: {now.user_ca}", f"host CA: {now.host_ca}", f"host key: {now.host_key.get_fingerprint()}")
    return site.records("authority.changed")[-1]["detail"] in phrases


async def let_in(site: Site, one: Any) -> bool:  # Any: Granted
    try:
        async with connect(site, **login_of(one)):
            return True
    except asyncssh.PermissionDenied:
        return False


async def test_a_certificate_counts_until_the_key_that_signed_it_is_dropped(lab: Lab) -> None:
    async with lab.gateway() as site:
        by_former = await granted(site)
        assert await turn(site, "user_ca") is Step.STAGED
        assert await let_in(site, by_former)
        assert await turn(site, "user_ca") is Step.PROMOTED
        by_next = await granted(site)
        assert await let_in(site, by_former)
        assert await let_in(site, by_next)
        async with connect(site, **login_of(by_former)) as running:
            assert await turn(site, "user_ca") is Step.DROPPED
            assert not await let_in(site, by_former)
            assert await let_in(site, by_next)
            await running.create_connection(asyncssh.SSHTCPSession, "warehouse", 0)  # what runs goes on
        said = [one["detail"] for one in site.records("authority.changed")]
        assert [one.count("SHA256:") for one in said] == [2, 2, 1]
        assert all(one.startswith("user CA: SHA256:") for one in said)


async def test_a_staged_key_is_trusted_before_it_signs(lab: Lab, tmp_path: Path) -> None:
    async with lab.gateway() as site:
        await turn(site, "user_ca")
        # Another gateway of the fleet, which was told to promote first.
        other = site.directory / "authority"
        for name in ("user_ca.next", "host_ca", "host_key"):
            (tmp_path / name.removesuffix(".next")).write_bytes((other / name).read_bytes())
            (tmp_path / name.removesuffix(".next")).chmod(0o600)
        ahead = load_authority(AuthorityFiles(tmp_path))
        one = await granted(site)
        grant = next(running.grant for running in await site.gateway.service.store.running())
        line = await ahead.sign_grant(grant, one.key.export_public_key().decode())
        assert await let_in(site, replace(one, reply=replace(one.reply, certificate=line)))


async def test_clients_are_told_both_host_keys_and_stay_with_those_they_know(lab: Lab) -> None:
    async with lab.gateway() as site:
        before = site.published
        account = await site.account("ana")
        grant = await account.grant(("warehouse",), Tags())
        await turn(site, "host_ca")
        staged = await fetch_published(site.address, ca=site.ca)
        assert (len(staged.host_cas), staged.host_cas[0]) == (2, before.host_cas[0])
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
            for published in (before, staged):
                await (await open_link(published, grant)).close()
            await turn(site, "host_ca")
            promoted = await fetch_published(site.address, ca=site.ca)
            assert set(promoted.host_cas) == set(staged.host_cas)
            for published in (staged, promoted):
                await (await open_link(published, grant)).close()
            with pytest.raises(AirtunnelError, match="is not the gateway that it should be"):
                await open_link(before, grant)
            await turn(site, "host_ca")
            dropped = await fetch_published(site.address, ca=site.ca)
            assert dropped.host_cas == (promoted.host_cas[0],)
            for published in (staged, dropped):
                await (await open_link(published, grant)).close()
            with pytest.raises(AirtunnelError, match="is not the gateway that it should be"):
                await open_link(before, grant)
            await tunnels.test("warehouse")  # by the link of before all of it


async def test_a_new_host_key_is_shown_without_a_restart(lab: Lab) -> None:
    async with lab.gateway() as site:
        grant = await (await site.account("ana")).grant(("warehouse",), Tags())
        for name in ("host_key", "host_key.pub"):
            (site.directory / "authority" / name).unlink()
        create_keys(site.directory / "authority")
        await until(lambda: site.records("authority.changed") and holds(site))
        assert site.records("authority.changed")[0]["detail"].startswith("host key: SHA256:")
        new = asyncssh.read_public_key(site.directory / "authority" / "host_key.pub")
        await (await open_link(site.published, grant)).close()
        async with connect(site, **login_of(grant)) as connection:
            shown = connection.get_server_host_key()
            assert shown is not None
            assert shown.public_data == new.public_data


def expose(path: Path) -> None:
    path.chmod(0o644)
    os.utime(path)


BROKEN: dict[str, Callable[[Path], object]] = {
    "others may read it": lambda keys: expose(keys / "user_ca"),
    "it is gone": lambda keys: (keys / "user_ca").unlink(),
    "it is rubbish": lambda keys: (keys / "user_ca.old.pub").write_text("rubbish"),
    "it is the other CA's": lambda keys: (keys / "user_ca.next.pub").write_bytes((keys / "host_ca.pub").read_bytes()),
}


@pytest.mark.parametrize("harm", BROKEN.values(), ids=BROKEN)
async def test_broken_keys_change_nothing_and_the_log_names_the_file(
    lab: Lab, harm: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    async with lab.gateway() as site:
        keys, before = site.directory / "authority", site.published.host_cas
        harm(keys)
        await until(lambda: MISSING in caplog.text)
        assert "user_ca" in caplog.text.partition(MISSING)[2]
        assert await let_in(site, await granted(site))
        assert site.published.host_cas == before
        assert site.records("authority.changed") == []


@pytest.mark.parametrize("other", ["host_ca.next.pub", "host_ca", "host_key"])
async def test_a_dropped_key_is_dropped_though_another_file_is_broken(
    lab: Lab, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with lab.gateway() as site:
        by_former = await granted(site)
        await turn(site, "user_ca")
        await turn(site, "user_ca")
        (site.directory / "authority" / other).write_text("rubbish")
        await until(lambda: MISSING in caplog.text)
        assert await let_in(site, by_former), "a fault alone drops nothing"
        assert await turn(site, "user_ca") is Step.DROPPED
        assert not await let_in(site, by_former)
        assert await let_in(site, await granted(site))
        assert caplog.text.count(MISSING) == 1, "once for one fault"


async def test_a_key_in_no_file_is_not_trusted_though_its_own_ca_is_broken(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        keys, by_former = Files(site.directory / "authority" / "user_ca"), await granted(site)
        await turn(site, "user_ca")
        await turn(site, "user_ca")
        keys.next_public.write_text("rubbish")
        await until(lambda: MISSING in caplog.text)
        known = len(site.records("authority.changed"))
        keys.old_public.unlink()
        await until(lambda: len(site.records("authority.changed")) > known)
        assert not await let_in(site, by_former)
        assert await let_in(site, await granted(site))


async def test_a_ca_counts_though_the_other_one_cannot_be_prepared(lab: Lab) -> None:
    async with lab.gateway() as site:
        service, keys = site.gateway.service, site.directory / "authority"
        before, shown = service.authority, site.published

        async def prepare(authority: Authority) -> Callable[[], None]:
            if authority.host_ca.signer.public != before.host_ca.signer.public:
                raise Temporary("nobody signs")
            return await site.gateway._prepare(authority)

        site.gateway._trust._load = lambda: take_keys(service, prepare)
        await turn(site, "host_ca")
        rotate(keys / "host_ca", None)
        await turn(site, "user_ca")
        await until(lambda: len(service.authority.user_cas) == 2)
        assert service.authority.host_cas[0] == shown.host_cas[0]
        assert site.published.host_cas[0] == shown.host_cas[0]


async def test_keys_that_are_mended_are_taken_up(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        await turn(site, "user_ca")
        old = site.directory / "authority" / "user_ca.next"
        old.chmod(0o644)
        os.utime(old)
        await until(lambda: MISSING in caplog.text)
        old.chmod(0o600)
        await turn(site, "user_ca")
        assert caplog.text.count(MISSING) == 1, "once for one fault"


async def test_what_cannot_be_written_down_does_not_hold(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        audit = site.directory / "audit" / "audit.jsonl"
        before, trusted = audit.read_bytes(), site.gateway.service.authority.user_cas
        os.truncate(audit, 0)  # it does not go on in a file that somebody else has changed
        rotate(site.directory / "authority" / "user_ca", None)
        await until(lambda: MISSING in caplog.text)
        assert site.gateway.service.authority.user_cas == trusted
        audit.write_bytes(before)
        await until(lambda: len(site.gateway.service.authority.user_cas) == 2)
        assert len(site.records("authority.changed")) == 1


async def test_files_that_say_the_same_are_no_change(lab: Lab) -> None:
    async with lab.gateway() as site:
        seen = stamp_keys(site.gateway.service.config.authority)
        os.utime(site.directory / "authority" / "user_ca")
        assert stamp_keys(site.gateway.service.config.authority) != seen
        site.gateway._trust.reload()
        await turn(site, "host_ca")
        assert len(site.records("authority.changed")) == 1


async def test_a_hangup_loads_even_what_looks_the_same(lab: Lab) -> None:
    async with lab.gateway() as site:
        await until(lambda: site.gateway._trust._seen is not None)
        site.gateway.stop_on_signals()
        try:
            key = site.directory / "authority" / "host_key"
            before = key.stat()
            key.write_bytes(asyncssh.generate_private_key("ssh-ed25519", comment="airtunnel host_key").export_private_key())
            os.utime(key, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert stamp_keys(site.gateway.service.config.authority) == site.gateway._trust._seen
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: site.records("authority.changed"))
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().remove_signal_handler(number)


async def test_the_start_says_which_keys_are_trusted(lab: Lab) -> None:
    async with lab.gateway() as site:
        authority = site.gateway.service.authority
        (started,) = site.records("gateway.started")
        assert f"user CA {authority.user_ca}, host CA {authority.host_ca}" in started["detail"]


def test_each_change_is_a_phrase(tmp_path: Path) -> None:
    create_keys(tmp_path / "a")
    create_keys(tmp_path / "b")
    one, other = (load_authority(AuthorityFiles(tmp_path / name)) for name in ("a", "b"))
    assert changes(one, one) == []
    assert [phrase.partition(":")[0] for phrase in changes(one, other)] == ["user CA", "host CA", "host key"]


async def test_an_agent_that_holds_the_ca_may_come_and_go(lab: Lab, tmp_path: Path) -> None:
    socket, keys = tmp_path / "ca.sock", tmp_path / "site" / "authority"
    create_keys(keys)
    user, host = (asyncssh.read_private_key(keys / name) for name in ("user_ca", "host_ca"))
    extra = "authority:\n" + "".join(
        f"  {name}: {{agent: {socket}, public_key: authority/{name}.pub}}\n" for name in ("user_ca", "host_ca")
    )
    async with ssh_agent(socket, user, host) as agent:
        for name in ("user_ca", "host_ca"):
            (keys / name).unlink()
        async with lab.gateway(extra=extra) as site:
            account = await site.account("ana")
            async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
                agent.kill()
                await agent.wait()
                with pytest.raises(Temporary, match="cannot sign at the moment"):
                    await account.grant(("warehouse",), Tags())
                await tunnels.test("warehouse")  # what runs needs no signature
                async with ssh_agent(socket, user, host):
                    assert await let_in(site, await account.grant(("warehouse",), Tags()))
            assert not (keys / "user_ca").exists()
