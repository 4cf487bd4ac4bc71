"""A policy at a git revision."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from airtunnel.errors import AirtunnelError, ConfigError, UsageError
from airtunnel.policy.revision import load_revision
from tests.policy.shop import STAGING, write_policy


def git(home: Path, *words: str) -> str:
    """A git command in `home`, by nobody's own configuration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    by = ("-c", "user.name=ana", "-c", "user.email=ana@example.com")
    done = subprocess.run(["git", *by, *words], cwd=home, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a policy of two versions; we are in it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git(tmp_path, "init", "-q", "-b", "main")
    directory = write_policy(tmp_path)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    (directory / "staging.yaml").write_text(STAGING.replace("[data-eng, on-call]", "[qa]"))
    (directory / "staging.test.yaml").write_text("cases: []\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "second")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("where", ["HEAD~1:policy", "HEAD~1:policy/", "HEAD~1:./policy"])
def test_a_revision_is_read_as_it_was_with_its_places_and_its_commit(repository: Path, where: str) -> None:
    policy = load_revision(where)
    assert next(one for one in policy.rules if one.name == "engineers-reach-staging").who.groups == ("data-eng", "on-call")
    assert str(policy.rules[0].place) == "policy/prod.yaml:14"
    assert policy.commit == git(repository, "rev-parse", "HEAD~1")
    assert load_revision("main:policy").rules != policy.rules


def test_one_file_of_a_revision_is_a_policy_too(repository: Path) -> None:
    assert [one.name for one in load_revision("HEAD:policy/prod.yaml").rules] == ["prod-is-for-on-call", "no-contractors"]


def test_a_path_that_is_there_is_no_revision(repository: Path) -> None:
    (repository / "HEAD:policy").mkdir()
    shutil.copy(repository / "policy" / "prod.yaml", repository / "HEAD:policy")
    assert len(load_revision("HEAD:policy").rules) == 2
    assert len(load_revision(str(repository / "policy")).rules) == 5


@pytest.mark.parametrize(
    ("where", "kind", "told"),
    [
        ("HEAD~9:policy", UsageError, "there is no git revision `HEAD~9` here"),
        ("HEAD:nosuch", UsageError, "there is no `nosuch` at HEAD"),
        ("--output=x:policy", UsageError, "there is no git revision `--output=x` here"),
        ("--since=2020:policy", UsageError, "there is no git revision `--since=2020` here"),
        ("HEAD:../../etc", UsageError, "there is no `../../etc` at HEAD"),
        ("nosuch", ConfigError, "nosuch: there is no such file"),
    ],
)
def test_what_is_not_there_is_told(repository: Path, where: str, kind: type[AirtunnelError], told: str) -> None:
    with pytest.raises(kind) as caught:
        load_revision(where)
    assert caught.value.message == told
    assert not (repository / "x").exists()


def test_a_link_in_a_revision_cannot_be_followed_and_is_not_left_out(repository: Path) -> None:
    (repository / "policy" / "zz.yaml").symlink_to("/etc/passwd")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "third")
    with pytest.raises(ConfigError, match=r"zz\.yaml is a link"):
        load_revision("HEAD:policy")


def test_without_git_it_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="git is not installed"):
        load_revision("HEAD:policy")


def test_another_repository_in_the_environment_is_not_asked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repository, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(repository / "other" / ".git"))
    assert len(load_revision("HEAD:policy").rules) == 5


def test_a_hook_or_filter_of_the_repository_is_not_run(repository: Path) -> None:
    (repository / ".gitattributes").write_text("*.yaml filter=evil export-subst\n")
    git(repository, "config", "filter.evil.smudge", "touch ran")
    git(repository, "config", "core.fsmonitor", "touch ran")
    assert len(load_revision("HEAD:policy").rules) == 5
    assert not (repository / "ran").exists()
