"""`airtunnel demo --check`, as its user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from airtunnel.demo.check import matches

STEPS = ["start", "log_in", "connect", "query", "write", "refused", "expired", "clean", "audit"]


def run_check(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, with a temporary directory of its own."""
    return subprocess.run(
        [sys.executable, "-m", "airtunnel", "demo", "--check", *words],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_every_step_holds_and_nothing_is_left(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in events[:-1]] == STEPS
    assert all(one["ok"] for one in events)
    assert events[-1]["event"] == "done"
    assert list(tmp_path.iterdir()) == []


def test_with_a_directory_the_files_stay_and_the_database_does_not(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    done = run_check(tmp_path, "--dir", str(place))
    assert done.returncode == 0, done.stderr
    left = {path.name for path in place.iterdir()}
    assert {"gateway.yaml", "policy", "dags", "audit", "README.txt"} <= left
    assert not [name for name in left if name.startswith("postgres-")]


def test_records_match_only_what_is_expected() -> None:
    ends = ["grant.issued", "*", "session.closed"]
    assert matches(["a", "b"], ["a", "b"])
    assert not matches(["a", "b", "b"], ["a", "b"])
    good = ["grant.issued", "connection.opened", "lease.lent", "connection.closed", "session.closed"]
    assert matches(good, ends)
    assert not matches([one for one in good if one != "connection.closed"], ends)
    assert not matches([*good[:-1], "refused", good[-1]], ends)
    assert not matches(good[:-1], ends)
