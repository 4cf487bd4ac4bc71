"""Groups from a file: who is in which, what a change does, and what a broken file does not."""

import logging
import os
from pathlib import Path

import pytest

from airtunnel.errors import ConfigError
from airtunnel.identity.verify.groups import GroupsFile, read_groups

SMALL = "data-eng: [ana@example.com, bob@example.com]\non-call: ana@example.com\nempty: []\n"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "groups.yaml").write_text(SMALL)
    return tmp_path / "groups.yaml"


def write(path: Path, text: str) -> None:
    """As an editor does it: a new file in the place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def test_a_member_is_in_the_groups_that_name_it(path: Path) -> None:
    assert read_groups(path) == {"ana@example.com": ("data-eng", "on-call"), "bob@example.com": ("data-eng",)}


def test_a_principal_is_found_by_name_and_by_subject(path: Path) -> None:
    write(path, "one: [ana@example.com]\ntwo: [sub:00u1]\nboth: [ana@example.com, 'sub:00u1']\nthree: sub:00u1\n")
    assert GroupsFile(path).of("ana@example.com", "00u1") == ("one", "both", "two", "three")


def test_a_subject_that_looks_like_a_name_has_no_groups_of_it(path: Path) -> None:
    write(path, "dba: [ana@example.com]\n")
    assert GroupsFile(path).of("mallory@example.com", "ana@example.com") == ()


def test_a_name_that_looks_like_a_subject_has_no_groups_of_it(path: Path) -> None:
    write(path, "dba: ['sub:00u1']\nodd: ['sub:sub:00u1', '00u2']\n")
    groups = GroupsFile(path)
    assert groups.of("sub:00u1", "00u9") == ()
    assert groups.of("00u1", "00u9") == ()
    assert groups.of("mallory", "00u2") == ()
    assert groups.of("mallory", "00u1") == ("dba",)
    assert groups.of("mallory", "") == ()


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o602])
def test_a_file_that_others_may_change_is_refused_at_the_start(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others may write this file") as caught:
        GroupsFile(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.hint == f"chmod 644 {path}"


def test_a_file_that_others_may_read_is_taken(path: Path) -> None:
    for mode in (0o644, 0o600, 0o440):
        path.chmod(mode)
        assert GroupsFile(path).of("bob@example.com", "") == ("data-eng",)


def test_a_file_of_another_users_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat_result(path.stat())
    owner = real.st_uid + 1000
    monkeypatch.setattr(os, "fstat", lambda _: os.stat_result((*real[:4], owner, *real[5:])))
    with pytest.raises(ConfigError, match="it belongs to another user") as caught:
        GroupsFile(path)
    assert caught.value.hint == f"chown {os.geteuid()} {path}"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for where in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="this is not a file"):
            GroupsFile(where)


def test_a_file_that_others_may_change_later_leaves_the_old_groups_until_it_is_mended(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    path.write_text("data-eng: [mallory]\n")
    path.chmod(0o666)
    for _ in range(2):
        clock.now += 1
        assert groups.of("ana@example.com", "") == ("data-eng", "on-call")
    assert caplog.text.count(f"{path}: others may write this file") == 1
    path.write_text("data-eng: [bob@example.com]\n")
    path.chmod(0o644)
    clock.now += 1
    assert groups.of("ana@example.com", "") == ()
    assert groups.of("bob@example.com", "") == ("data-eng",)
    path.chmod(0o666)  # the bytes are the same, and nobody knows for how long
    clock.now += 1
    groups.of("bob@example.com", "")
    assert caplog.text.count("others may write this file") == 2


def test_a_broken_file_is_not_read_again_before_it_changes(path: Path) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    path.write_text("x: [ana@example.com\n")
    clock.now += 1
    assert groups.of("ana@example.com", "") == ("data-eng", "on-call")
    before = path.stat()
    path.write_text("x: ana@example.com \n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 1
    assert groups.of("ana@example.com", "") == ("data-eng", "on-call"), "it looks the same"
    os.utime(path)
    clock.now += 1
    assert groups.of("ana@example.com", "") == ("x",)


def test_names_are_compared_to_the_letter(path: Path) -> None:
    groups = GroupsFile(path)
    assert groups.of("ANA@example.com", "") == ()
    assert groups.of("nobody@example.com", "00u9") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- ana@example.com\n", "groups.yaml:1:1: the file is a table"),
        ("data-eng: {ana: bob}\n", "groups.yaml:1:11: `data-eng` is a list"),
        ("data-eng: [[ana]]\n", "groups.yaml:1:12: `data-eng` is one value"),
        ("data-eng: [sub: 00u1]\n", "groups.yaml:1:12: a member is a name, or a subject as sub:VALUE"),
        ("data-eng: ['sub:']\n", "groups.yaml:1:12: a member is a name, or a subject as sub:VALUE"),
        ("data-eng: [ana, ana]\n", "groups.yaml:1:11: ana stands in data-eng twice"),
        ("data-eng: [ana]\ndata-eng: [bob]\n", "groups.yaml:2:1: `data-eng` stands here twice"),
        ("data-eng:\n", "groups.yaml:1:10: `data-eng` has no value"),
        ("data-eng: [ana\n", "groups.yaml:2:1: not YAML"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start_by_line(path: Path, text: str, message: str) -> None:
    write(path, text)
    with pytest.raises(ConfigError) as caught:
        GroupsFile(path)
    assert caught.value.message.startswith(message)


def test_a_change_counts_after_a_second_and_not_before(path: Path) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    write(path, "finance: [ana@example.com]\n")
    clock.now += 0.9
    assert groups.of("ana@example.com", "") == ("data-eng", "on-call")
    clock.now += 0.2
    assert groups.of("ana@example.com", "") == ("finance",)


def test_a_change_in_place_counts_too(path: Path) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    before = path.stat()
    path.write_text(SMALL.replace("on-call", "offcall"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    clock.now += 1
    assert groups.of("ana@example.com", "") == ("data-eng", "offcall")


def test_a_file_that_did_not_change_is_not_read_again(path: Path) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    before = path.stat()
    path.write_text(SMALL.replace("on-call", "offcall"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 1
    assert groups.of("ana@example.com", "") == ("data-eng", "on-call")


def test_a_broken_file_leaves_the_old_groups_and_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    write(path, "data-eng: [ana\n")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 1
            assert groups.of("ana@example.com", "") == ("data-eng", "on-call")
    assert len(caplog.records) == 1
    assert "groups.yaml:2:1: not YAML" in caplog.text
    write(path, "data-eng: [bob@example.com]\n")
    clock.now += 1
    assert groups.of("ana@example.com", "") == ()


def test_a_file_that_is_gone_leaves_the_old_groups(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    groups = GroupsFile(path, clock)
    path.unlink()
    for _ in range(2):
        clock.now += 1
        assert groups.of("bob@example.com", "") == ("data-eng",)
    assert caplog.text.count("there is no such file") == 1
    write(path, SMALL)
    clock.now += 1
    assert groups.of("bob@example.com", "") == ("data-eng",)
