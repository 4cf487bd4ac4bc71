"""The project's file: found upwards, read strictly, and without a say in who one is."""

import os
from pathlib import Path

import pytest

from airtunnel.config.project import Project, find_project
from airtunnel.errors import ConfigError


def write(directory: Path, text: str) -> Path:
    path = directory / ".airtunnel.toml"
    path.write_text(text)
    return path


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    inner = tmp_path / "repository" / "dags"
    inner.mkdir(parents=True)
    outer = write(tmp_path, 'targets = ["outer"]')
    assert find_project(inner) == Project(outer, None, ("outer",))
    near = write(tmp_path / "repository", 'gateway = "gateway.example.com"\ntargets = ["db=15432", "api"]')
    assert find_project(inner) == Project(near, "gateway.example.com", ("db=15432", "api"))


def test_a_file_that_says_nothing_is_a_project_of_no_targets(tmp_path: Path) -> None:
    assert find_project((write(tmp_path, "")).parent) == Project(tmp_path / ".airtunnel.toml")


@pytest.mark.parametrize(
    "key", ["ca", "issuer", "client_id", "client_secret", "store", "identity", "token", "token_file", "context", "current"]
)
def test_it_never_says_who_somebody_is_or_whom_to_trust(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, f'{key} = "x"')
    with pytest.raises(ConfigError, match=f"cannot say who you are or where you log in: `{key}`") as caught:
        find_project(tmp_path)
    assert caught.value.message.startswith(f"{path}:1: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target = []", r"toml:1: unknown key `target`; did you mean `targets`\?"),
        ("gateway = 'a'\n\nus = 1", "toml:3: unknown key `us`; there are"),
        ("gateway = 'a'\ntargets = [", "toml:2: not TOML"),
        ("targets = 'db'", "`targets` is a list of texts"),
        ("targets = [1]", "`targets` is a list of texts"),
        ("gateway = 1", "`gateway` is a text"),
        ("gateway = ' '", "`gateway` is a text"),
        ("gateway", "not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
        ("#" * 70_000, "larger than"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=words):
        find_project(tmp_path)


def test_a_file_that_anybody_may_write_is_not_followed(tmp_path: Path) -> None:
    path = write(tmp_path, "targets = ['db']")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="another user may have written this file"):
        find_project(tmp_path)


def test_a_file_of_another_user_is_not_followed(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = write(tmp_path, "targets = ['db']")
    os.chown(path, 12345, 12345)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="another user may have written this file"):
        find_project(tmp_path)


def test_no_file_is_no_project(tmp_path: Path) -> None:
    assert find_project(tmp_path / "nowhere") is None


def test_a_directory_of_that_name_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / ".airtunnel.toml").mkdir()
    with pytest.raises(ConfigError, match="not a plain file"):
        find_project(tmp_path)
