"""What a person sees while they log in: the page to open, the code to compare, a QR code, and a place to paste into.

Against phishing, after draft-ietf-oauth-cross-device-security: the code stands alone, the page's whole host is named, and one
is asked to go on only after having typed the command oneself. A page for a code opens at Enter, not by itself, so that it is
read first; the page of a browser login holds no code that could be a stranger's, and opens at once.
"""

import asyncio
import functools
import os
import shutil
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.cli import output

if TYPE_CHECKING:
    from airtunnel.identity.login.drive import BrowserPrompt, DevicePrompt

CONTAINERS = ("/.dockerenv", "/run/.containerenv")
"""Files by which Docker and Podman mark a container."""
MIN_WIDTH = 45
"""Columns that a QR code of an address takes, about."""


class LoginPage:
    """A login as it is shown on this terminal, until `close`.

    gateway: as the person calls it; browser: whether one may be opened here; qr: whether to draw one, None: where it helps
    """

    def __init__(self, gateway: str, *, browser: bool = True, qr: bool | None = None, as_json: bool = False) -> None:
        self.local = browser and local_browser()
        self._gateway = gateway
        self._qr = qr
        self._as_json = as_json
        self._stop: Callable[[], object] | None = None

    def show_code(self, prompt: "DevicePrompt") -> None:
        """The page and the code of a login by device code."""
        link = prompt.verification_uri_complete or prompt.verification_uri
        shown = {"url": prompt.verification_uri, "url_complete": link, "code": prompt.user_code, "host": prompt.host}
        self._event("device", shown | {"expires_at": prompt.expires_at.isoformat()})
        output.note(
            f"To log in to {self._gateway}, open this page of {prompt.host}, and only if you typed this command yourself:"
        )
        output.note()
        output.note(f"  {link}")
        output.note(f"  code  {prompt.user_code}      the page must show this one")
        output.note()
        show_qr(link, self._qr, here=self.local)
        if self.local and output.interactive():
            output.note("Enter opens it in a browser here; any other device does as well. Waiting ...")
            self._on_line(lambda _: _open(link))
        else:
            output.note("Waiting for you to approve it there ...")

    def show_link(self, prompt: "BrowserPrompt") -> None:
        """The page of a login in the browser."""
        self._event("browser", {"url": prompt.url, "host": prompt.host, "redirect_uri": prompt.redirect_uri})
        opens = self.local and output.interactive()
        how = "your browser opens" if opens else "open"
        output.note(
            f"To log in to {self._gateway}, {how} this page of {prompt.host}, and only if you typed this command yourself:"
        )
        output.note()
        output.note(f"  {prompt.url}")
        output.note()
        if opens:
            output.note("Waiting for you to log in there. If the browser cannot come back, paste its last address here.")
            _open(prompt.url)
        elif output.interactive():
            output.note("In the end the browser goes to an address that begins with")
            output.note(f"  {prompt.redirect_uri}")
            output.note("and, on another machine than this one, finds nothing there: then paste that address here.")
        else:
            output.note("Waiting for you to log in there ...")

    async def pasted(self) -> str:
        """The next line that the person types or pastes; `""` when there will be none."""
        if not output.interactive():
            return ""
        line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._on_line(lambda text: None if line.done() else line.set_result(text))
        try:
            return await line
        finally:
            self.close()

    def say(self, words: str) -> None:
        """A line about how the login goes on."""
        output.note(words)

    def close(self) -> None:
        """Listen to the keyboard no longer."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _on_line(self, act: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()

        def read() -> None:
            self.close()
            act(sys.stdin.readline())

        loop.add_reader(sys.stdin, read)
        self._stop = functools.partial(loop.remove_reader, sys.stdin)

    def _event(self, flow: str, fields: dict[str, str]) -> None:
        if self._as_json:
            output.event("login_required", {"flow": flow, "gateway": self._gateway} | fields)


def local_browser() -> bool:
    """Whether a browser that is opened here would be seen by the person who types: not over SSH, and not in a container."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    if os.environ.get("BROWSER") or sys.platform in ("darwin", "win32"):
        return True
    if any(Path(one).exists() for one in CONTAINERS):
        return False
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show_qr(link: str, wanted: bool | None, *, here: bool) -> None:
    """The address as a QR code on the terminal, if it was asked for; or else if no browser is `here` and it can be drawn."""
    if wanted is None:
        wanted = output.interactive() and not here and _can_draw()
    if not wanted:
        return
    import segno

    code = segno.make(link, error="l", micro=False)
    rows = [[bool(dark) for dark in row] for row in code.matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    # Two rows of modules per line. The light ones are drawn, because most terminals are dark.
    blocks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    for above, below in zip(rows[::2], rows[1::2], strict=True):
        output.note("  " + "".join(blocks[pair] for pair in zip(above, below, strict=True)))
    output.note()


def _can_draw() -> bool:
    encoding = (getattr(sys.stderr, "encoding", "") or "").lower().replace("-", "")
    return encoding == "utf8" and os.environ.get("TERM") != "dumb" and shutil.get_terminal_size().columns >= MIN_WIDTH


def _open(link: str) -> None:
    # Some browsers' commands come back only when the browser is closed.
    asyncio.get_running_loop().run_in_executor(None, webbrowser.open, link)
