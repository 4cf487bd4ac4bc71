"""A policy as it stood at a git revision: `HEAD~1:policy/`, `main:policy`, `v1.2:policy/shop.yaml`.

Only git's objects are read. Nothing is checked out, so no hook, filter or attribute of the repository is run.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

from airtunnel.config.values import cut
from airtunnel.errors import ConfigError, UsageError
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy

TIMEOUT = 30.0
"""Seconds for one question to git; a partial clone may have to fetch."""
MAX_BYTES = 64 * 1024 * 1024


def load_revision(where: str) -> Policy:
    """The policy in a file or directory, or at a git revision as `REVISION:PATH` of the repository that we are in.

    Raises ConfigError for a policy that is wrong, UsageError if there is no git, no such revision, or no such path.
    """
    revision, colon, _ = where.partition(":")
    if not colon or not revision or Path(where).exists():
        return load_policy(Path(where))
    if shutil.which("git") is None:
        raise UsageError(f"`{cut(where)}` is a git revision, and git is not installed", hint="name a file or a directory")
    # --end-of-options: a revision that begins with a dash must not become an option.
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise UsageError(f"there is no git revision `{cut(revision)}` here", hint="git log --oneline -- policy")
    name = where.removeprefix(f"{revision}:").rstrip("/")
    item = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{_text(commit)}:{name}")
    if item is None:
        raise UsageError(
            f"there is no `{cut(name)}` at {cut(revision)}",
            hint=f"git ls-tree --name-only {revision}",
            details=("paths begin at the top of the repository; `./policy` begins here",),
        )
    with tempfile.TemporaryDirectory(prefix="airtunnel-") as directory:
        path = _write(_text(item), PurePosixPath(name).name or "policy", Path(directory), where)
        return replace(load_policy(path), commit=_text(commit))


def _write(item: str, name: str, directory: Path, where: str) -> Path:
    """The file or directory behind a git object, as files."""
    path = directory / name
    if _text(_need("cat-file", "-t", item)) == "blob":
        path.write_bytes(_need("cat-file", "blob", item))
        return path
    path.mkdir()
    for entry in _need("ls-tree", "-r", "-z", "--full-tree", item).split(b"\0")[:-1]:
        meta, _, written = entry.partition(b"\t")
        mode, _, blob = meta.decode().split(" ")
        inner = PurePosixPath(os.fsdecode(written))
        if inner.suffix not in (".yaml", ".yml"):
            continue
        # The files could be read through a link; here it has nowhere to point to.
        if mode not in ("100644", "100755") or ".." in inner.parts:
            raise ConfigError(f"{where}: {cut(str(inner))} is a link, whose file is not known here", hint="compare directories")
        file = path / inner
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_need("cat-file", "blob", blob))
    return path


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


def _need(*command: str) -> bytes:
    data = _git(*command)
    if data is None:
        raise UsageError(f"git {command[0]} failed: this repository is damaged, or not wholly here", hint="git fsck")
    return data


def _git(*command: str) -> bytes | None:
    """What git says; None if it says no."""
    git = shutil.which("git") or "git"
    # As in version.py: neither a hook's GIT_DIR nor a program that the repository's configuration names.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  no shell, and what the user typed stands behind --end-of-options
            [git, "-c", "core.fsmonitor=false", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"git does not answer: {error}", hint="name a file or a directory") from error
    return done.stdout if done.returncode == 0 and len(done.stdout) <= MAX_BYTES else None
