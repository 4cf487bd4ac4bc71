"""What people and scripts get to read."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.cli import output
from airtunnel.errors import Refused
from tests.cli.terminal import Terminal, on_terminal

REFUSAL = Refused(
    who="ana", target="payroll", rule="finance", place="p.yaml:1", reasons=["needs group finance"], request="01m", hint="wait"
)


def test_a_refusal_names_its_rule_and_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail(REFUSAL) == 77
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "error: ana may not reach payroll",
        "  rule: finance (p.yaml:1), needs group finance",
        "  request: 01m",
        "hint: wait",
    ]


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.event("ready", {"text": "two\nlines"})
    output.document({"who": "ana"})
    output.fail(REFUSAL, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"v": 1, "event": "ready", "text": "two\nlines"}
    assert lines[1] == {"v": 1, "who": "ana"}
    assert lines[2]["rule"] == "finance"


def test_what_others_say_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.note("a\x1b[2Jb\rc\u202ed")
    output.table(("A",), [("x\x9by",)])
    printed = capsys.readouterr()
    assert printed.err == "a\ufffd[2Jb\ufffdc\ufffdd\n"
    assert printed.out == "A\nx\ufffdy\n"


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "B"), [("long", "x"), ("s", "")])
    assert capsys.readouterr().out == "A      B\nlong   x\ns\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (45, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (3600, "60 min"),
        (7200, "2 h"),
        (9000, "2 h 30 min"),
    ],
)
def test_durations_are_read_by_people(seconds: int, text: str) -> None:
    assert output.span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (3400, "3.4 kB"), (3_400_000, "3.4 MB"), (10**9, "1.0 GB")]
)
def test_sizes_are_read_by_people(count: int, text: str) -> None:
    assert output.size(count) == text


def test_a_time_has_its_date_unless_it_is_today() -> None:
    now = datetime.now(UTC)
    assert output.clock(now) == now.astimezone().strftime("%H:%M")
    assert output.clock(now + timedelta(days=3)) == (now + timedelta(days=3)).astimezone().strftime("%Y-%m-%d %H:%M")


def test_a_terminal_shows_the_label_of_an_error_in_colour(terminal: Terminal) -> None:
    assert on_terminal(terminal, "targets").startswith("\x1b[31merror:\x1b[0m not logged in")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_colour_can_be_declined(terminal: Terminal, variables: dict[str, str]) -> None:
    terminal.variables |= variables
    assert "\x1b" not in on_terminal(terminal, "targets")


def test_an_empty_no_color_declines_nothing(terminal: Terminal) -> None:
    terminal.variables |= {"NO_COLOR": "", "TERM": "xterm"}
    assert "\x1b[31m" in on_terminal(terminal, "targets")
