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
    write(path, "one: [ana@example.com]\ntwo: ['00u1']\nboth: [ana@example.com, '00u1']\n")
    assert GroupsFile(path).of("ana@example.com", "00u1") == ("one", "both", "two")


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
