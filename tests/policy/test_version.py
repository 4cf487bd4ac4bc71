"""The policy's version, from a real git."""

import shutil
import subprocess
from pathlib import Path

import pytest

from airtunnel.policy.load import load_policy
from airtunnel.policy.version import git_commit
from tests.policy.shop import write_policy


def git(home: Path, *command: str) -> str:
    who = ("-c", "user.name=ana", "-c", "user.email=ana@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *command], cwd=home, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the shop's policy, committed."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    write_policy(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "policy")
    git(tmp_path, "commit", "--quiet", "--message", "policy: the shop")
    return tmp_path


def test_a_committed_policy_has_its_commit(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_commit(repository / "policy") == commit
    assert git_commit(repository / "policy" / "prod.yaml") == commit
    assert load_policy(repository / "policy").commit == commit


def test_a_changed_policy_is_dirty(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    with (repository / "policy" / "prod.yaml").open("a") as file:
        file.write("# one more line\n")
    assert git_commit(repository / "policy") == f"{commit}-dirty"
    assert git_commit(repository / "policy" / "staging.yaml") == commit


def test_a_change_elsewhere_in_the_repository_is_none_of_the_policy(repository: Path) -> None:
    (repository / "README.md").write_text("new")
    assert git_commit(repository / "policy") == git(repository, "rev-parse", "HEAD")


def test_a_file_that_git_ignores_is_not_in_the_commit(repository: Path) -> None:
    (repository / ".git" / "info" / "exclude").write_text("local.yaml\n")
    (repository / "policy" / "local.yaml").write_text("targets: {}\n")
    assert str(git_commit(repository / "policy")).endswith("-dirty")


def test_a_policy_outside_of_any_repository_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert load_policy(write_policy(tmp_path)).commit is None


def test_a_repository_without_a_commit_has_no_version(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    git(tmp_path, "init", "--quiet")
    assert git_commit(write_policy(tmp_path)) is None


def test_a_hooks_repository_is_not_taken_for_the_policys(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_commit(repository / "policy") == commit


def test_a_repository_cannot_have_a_program_run(repository: Path) -> None:
    hook = repository / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/was-run\n")
    hook.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(hook))
    git_commit(repository / "policy")
    assert not (repository / "was-run").exists()
