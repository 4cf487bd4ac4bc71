"""Which version of the policy this is: the git commit of its files."""

import os
import shutil
import subprocess
from pathlib import Path

TIMEOUT = 5.0
"""Seconds. The version is worth knowing and not worth waiting for."""


def git_commit(path: Path) -> str | None:
    """The commit that the file or directory at `path` is in, with `-dirty` if it differs from it; None if that is not known."""
    directory = path if path.is_dir() else path.parent
    commit = _git(directory, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    # Ignored files count as different, too: the commit does not have them.
    changes = _git(directory, "status", "--porcelain", "--ignored", "--", path.name if path != directory else ".")
    if changes is None:
        return None
    return f"{commit}-dirty" if changes else commit


def _git(directory: Path, *command: str) -> str | None:
    if (git := shutil.which("git")) is None:
        return None
    # A hook sets GIT_DIR for its own repository. A repository's configuration could name a program as its fsmonitor.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  no shell, and every argument is ours but for the directory
            [git, "-c", "core.fsmonitor=false", "-C", str(directory), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
