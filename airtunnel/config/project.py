"""The project's file, `.airtunnel.toml`: what a repository's people reach, found from the working directory upwards.

    gateway = "gateway.example.com"
    targets = ["postgres-prod=15432", "staging"]

A repository may come from anywhere, so it can choose among the logins that its reader has, and no more: it never says where to
log in, whom to trust, or who to be.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from airtunnel.errors import ConfigError

NAME = ".airtunnel.toml"
MAX_FILE = 64 * 1024
_NEVER = (
    "ca",
    "issuer",
    "client_id",
    "client_secret",
    "store",
    "identity",
    "token",
    "token_file",
    "context",
    "contexts",
    "current",
)


@dataclass(frozen=True, slots=True)
class Project:
    """What the file at `path` says. gateway: the one that the project's targets are behind; a login there must exist."""

    path: Path
    gateway: str | None = None
    targets: tuple[str, ...] = ()


def find_project(start: Path | None = None) -> Project | None:
    """The nearest project file from `start` (the working directory) up to the root; None if there is none.

    Raises ConfigError if it cannot be read, belongs to somebody else, or says what such a file may not say.
    """
    try:
        here = (start or Path.cwd()).absolute()
    except OSError:  # the working directory is gone
        return None
    for directory in (here, *here.parents):
        path = directory / NAME
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError as error:
            raise ConfigError(f"{path}:1: cannot be read: {(error.strerror or str(error)).lower()}") from error
        with os.fdopen(handle, "rb") as file:
            return _read(path, os.fstat(handle), file.read(MAX_FILE + 1))
    return None


def _read(path: Path, found: os.stat_result, content: bytes) -> Project:
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o002:
        # In /tmp, anybody could put one above the directory that one works in.
        raise ConfigError(f"{path}:1: another user may have written this file", hint=f"ls -l {path}")
    if len(content) > MAX_FILE:
        raise ConfigError(f"{path}:1: larger than {MAX_FILE} bytes")
    try:
        body = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}:1: not TOML: {error}") from error
    for key in body:
        if key in _NEVER:
            raise ConfigError(f"{path}:1: a project's file cannot say who you are or where you log in: `{key}`")
        if key not in ("gateway", "targets"):
            raise ConfigError(f"{path}:1: unknown key `{key}`; there are `gateway` and `targets`")
    gateway, targets = body.get("gateway"), body.get("targets", [])
    if gateway is not None and (not isinstance(gateway, str) or not gateway.strip()):
        raise ConfigError(f"{path}:1: `gateway` is a text like gateway.example.com")
    if not isinstance(targets, list) or not all(isinstance(one, str) and one for one in targets):
        raise ConfigError(f"{path}:1: `targets` is a list of texts")
    return Project(path, gateway, tuple(targets))
