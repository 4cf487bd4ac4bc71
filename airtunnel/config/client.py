"""The client's memory: which gateways this person has logged in to, and which one is meant when none is named.

No secret stands here. A token is in the store that the context names (identity/store).
"""

import difflib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, cast, get_args

from airtunnel.config.values import parse_address
from airtunnel.errors import ConfigError, LoginRequired

TokenStore: TypeAlias = Literal["keyring", "file", "memory"]


@dataclass(frozen=True, slots=True)
class Context:
    """A gateway, and who is logged in there.

    gateway: `host:port` of its HTTPS; ca: PEM file that vouches for it, if not the system; store: where the token is
    issuer, subject: who is logged in, as the provider identifies them; user: as people read it
    """

    name: str
    gateway: str
    ca: str | None = None
    store: TokenStore = "keyring"
    subject: str | None = None
    user: str | None = None
    issuer: str | None = None


def config_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the client's configuration is: AIRTUNNEL_CONFIG_DIR, or what the operating system has for it."""
    if chosen := environment.get("AIRTUNNEL_CONFIG_DIR"):
        return Path(chosen)
    import platformdirs

    return platformdirs.user_config_path("airtunnel", appauthor=False)


def state_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where locks, sockets and remembered ports are: AIRTUNNEL_STATE_DIR, or what the operating system has for it."""
    if chosen := environment.get("AIRTUNNEL_STATE_DIR"):
        return Path(chosen)
    import platformdirs

    return platformdirs.user_state_path("airtunnel", appauthor=False)


@dataclass(slots=True)
class ClientConfig:
    """The file as a whole. `put`, `remove` and `current` change it in memory, `save` writes it."""

    path: Path
    contexts: dict[str, Context] = field(default_factory=dict)
    current: str | None = None

    @classmethod
    def load(cls, directory: Path | None = None) -> Self:
        """What was saved, or an empty configuration. Raises ConfigError: `/home/ana/.config/airtunnel/config.toml:3: ...`."""
        path = (directory or config_directory()) / "config.toml"
        try:
            content = path.read_text("utf-8")
        except FileNotFoundError:
            return cls(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}:1: cannot be read: {error}") from error
        try:
            body = tomllib.loads(content)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}:{toml_line(content, error)}: not TOML: {error}") from error
        return cls(path, *_Reader(path, content).read(body))

    def context(self, name: str | None = None) -> Context:
        """The context of that name, or the current one. Raises LoginRequired if there is none."""
        if (wanted := name or self.current) is None:
            raise LoginRequired("not logged in to any gateway", hint="airtunnel login HOST")
        if wanted in self.contexts:
            return self.contexts[wanted]
        close = difflib.get_close_matches(wanted, self.contexts, 1)
        if close:
            raise LoginRequired(f"there is no context {wanted}; did you mean {close[0]}?", hint="airtunnel context")
        raise LoginRequired(f"there is no context {wanted}", hint=f"airtunnel login HOST --context {wanted}")

    def put(self, context: Context) -> None:
        """Adds or replaces a context, and makes it the current one."""
        self.contexts[context.name] = context
        self.current = context.name

    def remove(self, name: str) -> None:
        """Forgets a context. If it was the current one, the only other one takes its place, if there is only one."""
        self.contexts.pop(name, None)
        if self.current == name:
            self.current = next(iter(self.contexts)) if len(self.contexts) == 1 else None

    def save(self) -> None:
        """Writes the file: whole or not at all, readable by its owner only. Raises ConfigError."""
        import tomli_w

        body: dict[str, object] = {} if self.current is None else {"current": self.current}
        body["contexts"] = {
            name: {key: value for key, value in asdict(one).items() if value is not None and key != "name"}
            for name, one in self.contexts.items()
        }
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self.path, tomli_w.dumps(body).encode())
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _replace(path: Path, data: bytes) -> None:
    """A crash leaves the old file or the new one. mkstemp creates with mode 0600 (its documentation)."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Reader:
    """Checks what TOML gave. TOML's reader keeps no lines, so a complaint looks for its key in the text."""

    def __init__(self, path: Path, content: str) -> None:
        self._path = path
        self._lines = content.splitlines()

    def read(self, body: Mapping[str, object]) -> tuple[dict[str, Context], str | None]:
        self._check_keys(body, ("current", "contexts"))
        tables = body.get("contexts", {})
        if not isinstance(tables, dict):
            raise self._fault("contexts", "`contexts` is a table")
        contexts = {name: self._context(name, table) for name, table in tables.items()}
        current = body.get("current")
        if current is None or (isinstance(current, str) and current in contexts):
            return contexts, current
        raise self._fault("current", f"`current` names no context: {current}")

    def _context(self, name: str, table: object) -> Context:
        if not isinstance(table, dict):
            raise self._fault(name, f"the context {name} is a table")
        self._check_keys(table, tuple(one for one in Context.__slots__ if one != "name"), name)
        for key, value in table.items():
            if not isinstance(value, str) or not value:
                raise self._fault(key, f"`{key}` is a text", name)
        try:
            parse_address(table.get("gateway", ""))
        except ValueError as error:
            raise self._fault("gateway", f"`gateway` of {name}: {error}", name) from error
        if table.get("store", "keyring") not in get_args(TokenStore):
            raise self._fault("store", f"`store` is {' or '.join(get_args(TokenStore))}", name)
        return Context(name=name, **cast("dict[str, Any]", table))  # Any: texts, checked above

    def _check_keys(self, table: Mapping[str, object], known: tuple[str, ...], within: str = "") -> None:
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                guess = f"; did you mean `{close[0]}`?" if close else ""
                raise self._fault(key, f"unknown key `{key}`{guess}", within)

    def _fault(self, key: str, message: str, within: str = "") -> ConfigError:
        """An error at the first line that seems to set `key`, after the header of the table `within`."""
        header = self._line(rf"\s*\[.*{re.escape(within)}", 1) if within else 1
        line = self._line(rf"""\s*(\[.*)?["']?{re.escape(key)}["']?\s*[=\]]""", header)
        return ConfigError(f"{self._path}:{line}: {message}")

    def _line(self, pattern: str, start: int) -> int:
        found = (number for number, line in enumerate(self._lines, 1) if number >= start and re.match(pattern, line))
        return next(found, start)


def toml_line(content: str, error: Exception) -> int:
    """The line, from 1, of which the reader of TOML complains."""
    # TOMLDecodeError has the line in its text only, until Python 3.14.
    found = re.search(r"at line (\d+)", str(error))
    return int(found.group(1)) if found else max(1, len(content.splitlines()))
