"""A CA's key is replaced without a moment in which something in use is not trusted."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airtunnel.config.authority import AuthorityFiles, Holder, Kms
from airtunnel.errors import ConfigError, UsageError
from airtunnel.gateway.authority import create_keys, load_authority
from airtunnel.gateway.ca import Files, load_ca
from airtunnel.gateway.keyfile import write_private, write_public
from airtunnel.gateway.rotation import Step, Which, advice, list_keys, rotate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The user CA of fresh keys."""
    create_keys(tmp_path)
    return tmp_path / "user_ca"


def roles(path: Path, holder: Holder | None = None) -> dict[str, str]:
    """Fingerprint by role."""
    ca = load_ca(path, holder)
    return {role: asyncssh.import_public_key(line).get_fingerprint() for line, role in ca.trusted.items()}


def test_three_steps_replace_a_key_and_both_are_trusted_in_between(path: Path) -> None:
    former = roles(path)["signs"]
    step, key = rotate(path, None)
    new = key.get_fingerprint()
    assert step is Step.STAGED
    assert roles(path) == {"signs": former, "next": new}
    assert rotate(path, None)[0] is Step.PROMOTED
    assert roles(path) == {"signs": new, "old": former}
    step, key = rotate(path, None)
    assert (step, key.get_fingerprint()) == (Step.DROPPED, former)
    assert roles(path) == {"signs": new}
    assert sorted(one.name for one in path.parent.glob("*user_ca*")) == ["user_ca", "user_ca.pub"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert rotate(path, None)[0] is Step.STAGED, "and it begins anew"


def test_the_other_ca_and_the_host_key_stay(path: Path) -> None:
    before = load_authority(AuthorityFiles(path.parent))
    for _ in range(3):
        rotate(path, None)
    after = load_authority(AuthorityFiles(path.parent))
    assert (after.host_cas, after.host_key) == (before.host_cas, before.host_key)
    assert after.user_cas != before.user_cas


def test_a_promotion_that_was_interrupted_is_whole_at_each_point_and_goes_on(path: Path, tmp_path: Path) -> None:
    files = Files(path)
    former = roles(path)["signs"]
    new = rotate(path, None)[1].get_fingerprint()
    # The operations of a promotion, each followed by the machine's end.
    write_public(files.old_public, load_ca(path, None).signer.public)
    assert roles(path) == {"signs": former, "next": new}
    copy = tmp_path / "copy"
    copy.mkdir()
    for one in files.all():
        if one.exists():
            shutil.copy2(one, copy)
    assert rotate(copy / "user_ca", None)[0] is Step.PROMOTED
    assert roles(copy / "user_ca") == {"signs": new, "old": former}
    files.next.replace(files.path)
    assert roles(path) == {"signs": new, "old": former}
    assert rotate(path, None)[0] is Step.DROPPED
    assert roles(path) == {"signs": new}
    assert not files.next_public.exists()
    assert load_ca(path, None).signer.public == asyncssh.read_public_key(files.public)


def test_staging_that_was_interrupted_is_whole(path: Path) -> None:
    new = rotate(path, None)[1].get_fingerprint()
    Files(path).next_public.unlink()
    assert roles(path)["next"] == new
    rotate(path, None)
    assert roles(path)["signs"] == new
    assert asyncssh.read_public_key(Files(path).public).get_fingerprint() == new


def test_a_next_key_without_its_private_half_is_not_promoted(path: Path) -> None:
    former = roles(path)["signs"]
    rotate(path, None)
    Files(path).next.unlink()
    with pytest.raises(ConfigError, match=r"user_ca\.next: there is no such key"):
        rotate(path, None)
    assert roles(path)["signs"] == former


class Crash(BaseException):
    """The machine is off."""


def crash_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The first `count` operations on files are done, and then the machine is off."""
    left = count

    def until_crash(operation: Callable[..., object]) -> Callable[..., object]:
        def done(*args: Any, **options: Any) -> object:  # Any: whatever os has
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return operation(*args, **options)

        return done

    for name in ("open", "rename", "replace", "unlink", "utime", "fchmod", "fsync"):
        monkeypatch.setattr(os, name, until_crash(getattr(os, name)))


def snapshot(directory: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(directory.iterdir())}


def restore(directory: Path, state: dict[str, bytes]) -> None:
    for one in directory.iterdir():
        one.unlink()
    for name, data in state.items():
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o644 if ".pub" in name else 0o600)


def shape(state: dict[str, bytes]) -> tuple[tuple[str, int], ...]:
    """Which files have the same key; each new key is another, so that there are not many such shapes."""
    seen: dict[str, int] = {}
    found = []
    for name, data in state.items():
        try:
            key = (asyncssh.import_public_key if ".pub" in name else asyncssh.import_private_key)(data).get_fingerprint()
        except asyncssh.KeyImportError:
            key = ""
        found.append((name, seen.setdefault(key, len(seen))))
    return tuple(found)


def crashes(path: Path, state: dict[str, bytes]) -> Iterator[tuple[Step | None, str, dict[str, bytes]]]:
    """What is on the disk after the next step and a crash before each of its operations; at last the step as a whole."""
    for count in itertools.count():
        restore(path.parent, state)
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, count)
            try:
                step, key = rotate(path, None)
            except Crash:
                step = None
        yield step, "" if step is None else key.get_fingerprint(), snapshot(path.parent)
        if step is not None:
            return


@pytest.mark.parametrize("with_public", [True, False], ids=["with its public half", "without"])
def test_any_number_of_crashes_at_any_point_leaves_a_ca_that_works(tmp_path: Path, with_public: bool) -> None:
    path = tmp_path / "user_ca"
    key = asyncssh.generate_private_key("ssh-ed25519")
    write_private(path, key)
    if with_public:
        write_public(Files(path).public, key)
    waiting = [snapshot(tmp_path)]
    known = {shape(waiting[0])}
    steps = set()
    while waiting:
        state = waiting.pop()
        restore(tmp_path, state)
        before = roles(path)
        for step, about, after in crashes(path, state):
            now = roles(path)
            if step is None:
                assert set(before.values()) <= set(now.values()), "a step that is not done takes no key away"
            elif step is Step.DROPPED:
                assert about == before["old"]
                assert about not in now.values()
                assert set(now) == {"signs"}
            assert now["signs"] in before.values(), "what signs was trusted before"
            assert asyncssh.read_private_key(path).get_fingerprint() == now["signs"]
            steps.add(step)
            if shape(after) not in known:
                known.add(shape(after))
                waiting.append(after)
    assert steps == {None, Step.STAGED, Step.PROMOTED, Step.DROPPED}
    assert len(known) > 10


def test_a_public_half_that_a_crash_left_behind_is_repaired(path: Path) -> None:
    for _ in range(2):
        rotate(path, None)
    files = Files(path)
    write_public(files.public, asyncssh.read_public_key(files.old_public))
    assert rotate(path, None)[0] is Step.DROPPED
    assert asyncssh.read_public_key(files.public) == load_ca(path, None).signer.public


@pytest.mark.parametrize("kms", [False, True], ids=["agent", "kms"])
def test_where_someone_else_holds_the_keys_their_public_halves_take_the_steps(tmp_path: Path, kms: bool) -> None:
    path, public = tmp_path / "user_ca", tmp_path / "user_ca.pub"
    holder = Holder(public, kms=Kms.AWS) if kms else Holder(public, agent=tmp_path / "agent.sock")
    first, second = (
        asyncssh.generate_private_key("ecdsa-sha2-nistp256", comment=name).convert_to_public() for name in ("arn:1", "arn:2")
    )
    with pytest.raises(ConfigError, match="there is no such key"):
        rotate(path, holder)
    assert rotate(path, holder, first) == (Step.STARTED, first)
    with pytest.raises(UsageError, match="is not named") as caught:
        rotate(path, holder)
    assert caught.value.hint == ("--kms ARN" if kms else "--public-key NEXT.pub")
    with pytest.raises(UsageError, match="signs already"):
        rotate(path, holder, first)
    assert rotate(path, holder, second)[0] is Step.STAGED
    with pytest.raises(UsageError, match="takes no key"):
        rotate(path, holder, second)
    assert rotate(path, holder)[0] is Step.PROMOTED
    assert roles(path, holder) == {"signs": second.get_fingerprint(), "old": first.get_fingerprint()}
    assert asyncssh.read_public_key(public).get_comment() == "arn:2", "by which a key service finds the key"
    assert rotate(path, holder)[0] is Step.DROPPED
    assert not [one for one in tmp_path.iterdir() if "PRIVATE" in one.read_text()]


def test_a_key_that_is_a_file_cannot_be_brought(path: Path) -> None:
    with pytest.raises(UsageError, match="takes no key"):
        rotate(path, None, asyncssh.generate_private_key("ssh-ed25519").convert_to_public())
    assert list(roles(path)) == ["signs"]


def test_the_list_names_each_key_with_its_role_and_place(path: Path) -> None:
    files = AuthorityFiles(path.parent)
    rotate(files.host_ca, None)
    shown = list_keys(files)
    assert [(one.ca, one.role) for one in shown] == [(Which.USER, "signs"), (Which.HOST, "signs"), (Which.HOST, "next")]
    assert [one.held_by for one in shown] == [str(files.user_ca), str(files.host_ca), f"{files.host_ca}.next"]
    assert all(abs(one.since - datetime.now(UTC)) < timedelta(minutes=1) for one in shown)
    assert {one.fingerprint for one in shown[:1]} == {roles(path)["signs"]}


def test_a_key_that_was_promoted_signs_since_then_and_not_since_it_was_made(path: Path) -> None:
    rotate(path, None)
    for one in (Files(path).next, Files(path).next_public):
        os.utime(one, (0, 0))
    rotate(path, None)
    assert all(one.since.year > 2000 for one in list_keys(AuthorityFiles(path.parent)))


def test_a_user_ca_may_be_dropped_when_what_it_signed_has_expired() -> None:
    ttl = timedelta(minutes=5)
    assert advice(Which.USER, Step.PROMOTED, ttl, NOW)[0] == NOW + ttl
    assert advice(Which.HOST, Step.STAGED, ttl, NOW)[0] is None
    assert any("ssh-config" in one for one in advice(Which.HOST, Step.STAGED, ttl, NOW)[1])
