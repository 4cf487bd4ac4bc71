"""Completion: the shells' scripts, and what they complete targets and contexts with.

Names come from what the gateway said last, written down in the state directory: a TAB must not wait for a network.
"""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output

if TYPE_CHECKING:
    from pathlib import Path

    from airtunnel.wire.control import Catalog

VARIABLE = "_AIRTUNNEL_COMPLETE"


class Shell(StrEnum):
    """The shells that a script is made for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def add_completion(app: typer.Typer) -> None:
    """The `completion` command, and the answers to the scripts' questions."""
    if VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # re-exported there without saying so

        completion_init()

    @app.command()
    def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.", metavar="bash|zsh|fish")]) -> None:
        """Print the completion script of a shell.

        \b
        airtunnel completion bash > ~/.local/share/bash-completion/completions/airtunnel
        airtunnel completion zsh  > ~/.zfunc/_airtunnel
        airtunnel completion fish > ~/.config/fish/completions/airtunnel.fish

        It completes commands, options, and the targets that the gateway named when you last asked.
        """
        output.data(script(shell))


def script(shell: Shell) -> str:
    """The shell's script: it asks `airtunnel` itself for what may come next."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # as above

    made: str = get_completion_script(prog_name="airtunnel", complete_var=VARIABLE, shell=shell.value)
    return made


def remember_targets(catalog: "Catalog") -> None:
    """Write down which targets may be reached. What cannot be written is not completed, and that is all."""
    import json
    import tempfile
    from pathlib import Path

    allowed = {one.name: one.description for one in catalog.targets if one.refusal is None}
    path = _targets_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(allowed, file)
        Path(name).replace(path)
    except OSError:
        return


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """Names of targets that begin so, with their descriptions."""
    import json

    try:
        known = json.loads(_targets_file().read_text("utf-8"))
        return [
            (name, _plain(str(text))) for name, text in known.items() if name.startswith(incomplete) and _plain(name) == name
        ]
    except (OSError, ValueError, AttributeError):
        return []


def complete_context(incomplete: str) -> list[str]:
    """Names of logins that begin so."""
    from airtunnel.config.client import ClientConfig
    from airtunnel.errors import ConfigError

    try:
        return [name for name in ClientConfig.load().contexts if name.startswith(incomplete)]
    except ConfigError:
        return []


def _plain(text: str) -> str:
    """Text without what a shell could act on. The script for zsh evaluates it, and a gateway's operator has written it."""
    return "".join(one if one.isalnum() or one in " .,_-/()" else " " for one in text)


def _targets_file() -> "Path":
    from airtunnel.config.client import state_directory

    return state_directory() / "targets.json"
