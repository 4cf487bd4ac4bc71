"""The project's file, `.airtunnel.toml`: what a repository's people reach, found from the working directory upwards.

    gateway = "gateway.example.com"
    targets = ["postgres-prod=15432", "staging"]

A repository may come from anywhere, so it can choose among the logins that its reader has, and no more: it never says where to
log in, whom to trust, or who to be.
"""

import difflib
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from airtunnel.config.client import toml_line
from airtunnel.errors import ConfigError

NAME = ".airtunnel.toml"
MAX_FILE = 64 * 1024
_KEYS = ("gateway", "targets")
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
        try:
            return _read(path, handle)
        finally:
            os.close(handle)
    return None


def _read(path: Path, handle: int) -> Project:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}:1: not a plain file", hint=f"ls -ld {path}")
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o002:
        # In /tmp, anybody could put one above the directory that one works in.
        raise ConfigError(f"{path}:1: another user may have written this file", hint=f"ls -l {path}")
    content = os.read(handle, MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ConfigError(f"{path}:1: larger than {MAX_FILE} bytes")
    try:
        body = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}:{toml_line(content.decode(errors='replace'), error)}: not TOML: {error}") from error

    def fault(key: str, words: str) -> ConfigError:
        lines = content.decode().splitlines()
        line = next((at for at, one in enumerate(lines, 1) if one.lstrip().lstrip("['\"").startswith(key)), 1)
        return ConfigError(f"{path}:{line}: {words}")

    for key in body:
        if key in _NEVER:
            raise fault(key, f"a project's file cannot say who you are or where you log in: `{key}`")
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, 1)
            raise fault(
                key,
                f"unknown key `{key}`; " + (f"did you mean `{close[0]}`?" if close else "there are `gateway` and `targets`"),
            )
    gateway, targets = body.get("gateway"), body.get("targets", [])
    if gateway is not None and (not isinstance(gateway, str) or not gateway.strip()):
        raise fault("gateway", "`gateway` is a text like gateway.example.com")
    if not isinstance(targets, list) or not all(isinstance(one, str) and one for one in targets):
        raise fault("targets", "`targets` is a list of texts")
    return Project(path, gateway, tuple(targets))
