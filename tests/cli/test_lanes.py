"""A timeline in a terminal."""

from datetime import UTC
from pathlib import Path

import pytest

from airtunnel.audit.record import Event
from airtunnel.audit.search import Query
from airtunnel.cli.lanes import LANES, draw_lanes
from airtunnel.model import Principal, PrincipalKind
from tests.audit.runs import ANA, Audit, eventful, task, timeline_of

NARROW = """\
UTC                                 03:05         03:10
                                         ┆ policy reloaded
                                  gateway crashed ┆
extract_orders        ▐████ warehouse 1 min 35 s  ┆
load_invoices         ▐██▐██▐███ warehouse 1 min 5 s
enrich_customers           x payroll refused      ┆
enrich_cus…rs, try 2          ▐█ payroll 38 s     ┆
reconcile                          ▐▓▓▓▓▓▓▓▓▓ warehouse
archive                                  ┆   ▐▒▒▒ warehouse
notify_peo…e_company     warehouse 1 min 20 s ▐░░░░
verify                       warehouse 3 min 10 s ▐████████▶

█ ended by client or target   ▓ ended by the gateway
▒ failed   ░ lost in a crash   ▶ still open   x refused
"""
WIDE = """\
UTC                                                                   03:05                         03:10
                                                                                  ┆ policy reloaded ┆ gateway crashed
extract_orders                            ▐█████████ warehouse 1 min 35 s         ┆                 ┆
load_invoices                             ▐█████▐██████▐██████ warehouse 1 min 5 s┆                 ┆
enrich_customers                                    x payroll refused             ┆                 ┆
enrich_customers, try 2                                   ▐████ payroll 38 s      ┆                 ┆
reconcile                                                            ▐▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ warehouse 3 min 10 s, idle
archive                                                                           ┆       ▐▒▒▒▒▒▒ warehouse 1 min
notify_people_in_eve…gion_of_the_company                                          ┆         ▐░░░░░░░░ warehouse
verify                                                                            ┆                 ┆▐█ warehouse █████▶

█ ended by client or target   ▓ ended by the gateway   ▒ failed   ░ lost in a crash   ▶ still open   x refused
"""


@pytest.mark.parametrize(("width", "transcript"), [(60, NARROW), (120, WIDE)])
def test_a_run_is_drawn_as_it_was_when_we_last_looked_at_it(tmp_path: Path, width: int, transcript: str) -> None:
    lines = draw_lanes(timeline_of(eventful(), tmp_path), width, UTC, colour=False)
    assert "\n".join(lines) + "\n" == transcript


@pytest.mark.parametrize("width", [1, 20, 40, 79, 200])
@pytest.mark.parametrize("seconds", [0, 3, 28_800])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int, seconds: float) -> None:
    audit = eventful()
    audit.session(0, task("a_very_long_name" * 9), (0, seconds), (1, None), target="t" * 99, closed=False)
    for number in range(50):
        audit.put(number, Event.POLICY_RELOADED)
    lines = draw_lanes(timeline_of(audit, tmp_path), width, UTC, colour=False)
    picture = lines[: lines.index("")]
    assert max(map(len, picture)) <= max(width, 34)  # twenty columns of time are the least that is drawn


def test_colour_adds_nothing_but_colour(tmp_path: Path) -> None:
    timeline = timeline_of(eventful(), tmp_path)
    plain, coloured = (draw_lanes(timeline, 80, UTC, colour=colour) for colour in (False, True))
    assert [strip(line) for line in coloured] == plain
    assert "\033" not in "".join(plain)


def strip(line: str) -> str:
    """A line without its colours."""
    for code in ("0", "1", "2", "31", "33", "34"):
        line = line.replace(f"\033[{code}m", "")
    return line.rstrip()


def test_a_terminal_without_blocks_gets_ascii(tmp_path: Path) -> None:
    audit = eventful()
    audit.session(0, task("caf\u00e9"), (0, 600))
    lines = draw_lanes(timeline_of(audit, tmp_path), 80, UTC, colour=False, ascii_only=True)
    assert all(line.isascii() for line in lines)
    assert any("|###" in line for line in lines)


def test_many_connections_at_a_time_become_heights(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), *((number, 200) for number in range(200)))
    lines = draw_lanes(timeline_of(audit, tmp_path), 80, UTC, colour=False)
    assert lines[1].startswith("load")
    assert lines[1].strip("load ")[0] == "\u2581"
    assert lines[1][-1] == "\u2588"
    assert lines[2].strip() == "200 connections, up to 200 at a time"


def test_more_lanes_than_anybody_scrolls_through_are_counted(tmp_path: Path) -> None:
    audit = Audit()
    for number in range(LANES + 5):
        audit.session(number, task(f"load_{number}"), (number, 100))
    assert "and 5 more lanes, which --html shows" in draw_lanes(timeline_of(audit, tmp_path), 80, UTC, colour=False)


def test_several_people_in_one_run_stand_beside_their_lanes(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (0, 60))
    audit.session(5, task("mend"), (5, 60), who=ANA)
    lines = draw_lanes(timeline_of(audit, tmp_path), 100, UTC, colour=False)
    assert [line.split("  ")[0].strip() for line in lines[1:3]] == ["load (worker-billing)", "mend (ana@example.com)"]


def test_a_name_can_neither_steer_the_terminal_nor_shift_the_picture(tmp_path: Path) -> None:
    evil = "\x1b[2J\u202e\u6f22e\u0301"
    audit = Audit()
    audit.session(0, task(evil), (0, 10), target=evil, who=Principal(PrincipalKind.PERSON, "i", evil, evil))
    audit.refuse(60, task(evil), evil)
    text = "\n".join(draw_lanes(timeline_of(audit, tmp_path, Query(run="*")), 80, UTC, colour=False))
    assert not set("\x1b\u202e\u6f22\u0301") & set(text)
    assert "\N{REPLACEMENT CHARACTER}[2J" in text
