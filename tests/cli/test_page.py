"""What a person sees while they log in."""

import pytest
import segno

from airtunnel.cli.page import local_browser, show_qr

LINK = "https://login.example.com/activate?user_code=WDJB-MJHT"


def drawn(text: str) -> list[list[bool]]:
    """The dark modules of a QR code that was drawn in half blocks."""
    rows: list[list[bool]] = []
    for line in text.rstrip("\n").splitlines():
        cells = line[2:]
        rows += [[one in " ▄" for one in cells], [one in " ▀" for one in cells]]
    return rows


def test_a_qr_code_holds_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    show_qr(LINK, True, here=True)
    shown = capsys.readouterr()
    expected = [[bool(one) for one in row] for row in segno.make(LINK, error="l", micro=False).matrix_iter(border=2)]
    assert drawn(shown.err)[: len(expected)] == expected
    assert shown.out == ""


def test_no_qr_code_is_drawn_unasked_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted, here in ((None, False), (None, True), (False, False)):
        show_qr(LINK, wanted, here=here)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variables", "there"),
    [
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"BROWSER": "firefox"}, True),
        ({}, False),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, False),
        ({"BROWSER": "firefox", "SSH_TTY": "/dev/pts/0"}, False),
    ],
    ids=str,
)
def test_a_browser_is_here_if_the_one_who_types_would_see_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], there: bool
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("airtunnel.cli.page.CONTAINERS", ())
    monkeypatch.setattr("sys.platform", "linux")
    assert local_browser() is there


def test_a_browser_in_a_container_is_seen_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("airtunnel.cli.page.CONTAINERS", ("/",))
    assert not local_browser()
