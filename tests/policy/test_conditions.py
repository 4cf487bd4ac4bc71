"""What a rule asks for: each condition by itself, at its edges, and in which words."""

from datetime import UTC, datetime, time
from ipaddress import ip_network
from zoneinfo import ZoneInfo

import pytest

from airtunnel.model import Address, Place, Principal, PrincipalKind, Protocol, Request, Tags, Target
from airtunnel.policy.conditions import claim_fits, covers, describe, unmet
from airtunnel.policy.rules import Effect, Rule, When, Who
from tests.policy.shop import WEDNESDAY, person

HERE = Place("p.yaml", 1)
BERLIN = ZoneInfo("Europe/Berlin")
ALLOW, DENY = Effect.ALLOW, Effect.DENY


def phrases(rule: Rule, request: Request, now: datetime = WEDNESDAY) -> list[str]:
    return [one.phrase for one in unmet(rule, request, now)]


def rule(who: Who | None = None, effect: Effect = ALLOW) -> Rule:
    return Rule("r", effect, HERE, who or Who())


def by(who: Principal, source: str | None = None, tags: Tags | None = None) -> Request:
    return Request(who, "one", tags or Tags(), source)


@pytest.mark.parametrize(
    ("targets", "labels", "covered"),
    [
        (("postgres-prod",), {}, True),
        (("postgres-*",), {}, True),
        (("*",), {}, True),
        (("x", "*-prod"), {}, True),
        (("postgres",), {}, False),
        (("Postgres-*",), {}, False),
        ((), {"env": ("dev", "production")}, True),
        ((), {"env": ("dev",)}, False),
        ((), {"zone": ("eu",)}, False),
        ((), {"env": ("production",), "team": ("shop",)}, True),
        ((), {"env": ("production",), "team": ("bank",)}, False),
        (("postgres-*",), {"env": ("dev",)}, False),
        (("x",), {"env": ("production",)}, False),
    ],
)
def test_a_rule_covers_what_fits_its_names_and_its_labels(
    targets: tuple[str, ...], labels: dict[str, tuple[str, ...]], covered: bool
) -> None:
    target = Target("postgres-prod", Protocol.TCP, Address("h", 1), HERE, labels={"env": "production", "team": "shop"})
    assert covers(Rule("r", ALLOW, HERE, Who(), targets=targets, labels=labels), target) is covered


@pytest.mark.parametrize(
    ("claim", "fits"),
    [
        ("data", True),
        ("Data", False),
        (["x", "data"], True),
        (["x"], False),
        ([], False),
        (None, False),
        ({"data": 1}, False),
        ([["data"]], False),
        ("", False),
        (True, True),
        (False, False),
        (7, True),
        ([7], True),
        (7.0, False),
    ],
)
def test_a_claim_fits_as_a_policy_would_write_it(claim: object, fits: bool) -> None:
    who = Principal(PrincipalKind.PERSON, "i", "s", "ana", (), {"department": claim})
    assert phrases(rule(Who(claims={"department": ("data", "true", "7")})), by(who)) == [] or not fits
    assert bool(phrases(rule(Who(claims={"department": ("data", "true", "7")})), by(who))) is not fits


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("repo:acme/dags:*", "repo:acme/dags:ref:refs/heads/main", True),
        ("repo:acme/dags:*", "repo:acme/dags:", True),
        ("repo:acme/dags:*", "repo:acme/dags-evil:ref:x", False),
        ("repo:acme/dags:*", "REPO:acme/dags:x", False),
        ("repo:acme/dags:*", "x repo:acme/dags:x", False),
        ("*", "anything", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXcYb", False),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("a[b]c", "abc", False),
        ("a[b]c", "a[b]c", True),
        ("[!a]*", "bc", False),
        ("refs/heads/*", "refs/heads/a\nb", True),
        ("a*" * 40 + "z", "a" * 2000 + "b", False),
    ],
)
def test_in_a_claim_only_a_star_stands_for_other_text(pattern: str, value: str, fits: bool) -> None:
    assert claim_fits(value, pattern) is fits
    who = Principal(PrincipalKind.WORKLOAD, "i", "s", "job", (), {"sub": ["other", value]})
    assert (phrases(rule(Who(claims={"sub": ("none", pattern)})), by(who)) == []) is fits


def test_a_pattern_of_a_claim_is_told_as_one() -> None:
    wanted = rule(Who(claims={"sub": ("repo:acme/dags:*",)}))
    assert phrases(wanted, by(person())) == ["needs sub like repo:acme/dags:*; yours is not known"]


def test_a_claim_is_never_taken_from_what_is_only_said() -> None:
    wanted = rule(Who(claims={"dag_id": ("billing",)}))
    assert phrases(wanted, by(person(), tags=Tags(dag_id="billing"))) == ["needs dag_id billing; yours is not known"]


@pytest.mark.parametrize("name", ["Ana@example.com", "ana@example.com ", "ana@example.co", ""])
def test_a_user_is_compared_to_the_letter(name: str) -> None:
    wanted = rule(Who(users=("ana@example.com", "bo@example.com")))
    assert phrases(wanted, by(person(name))) == [f"needs user ana@example.com or bo@example.com; you are {name}"]
    assert phrases(wanted, by(person("ana@example.com"))) == []


def test_a_group_is_no_part_of_another() -> None:
    wanted = rule(Who(groups=("eng",)))
    assert phrases(wanted, by(person("ana", "engineers", "Eng"))) == ["needs group eng; you are in: engineers, Eng"]


def test_all_of_several_conditions_must_be_met() -> None:
    wanted = rule(Who(groups=("eng",), users=("ana",)))
    assert phrases(wanted, by(person("ana", "eng"))) == []
    assert len(phrases(wanted, by(person("ana")))) == 1
    assert len(phrases(wanted, by(person("bo", "eng")))) == 1
    assert len(phrases(wanted, by(person("bo")))) == 2


def test_hundreds_of_groups_do_not_flood_a_refusal() -> None:
    many = tuple(f"g{number}" for number in range(300))
    (phrase,) = phrases(rule(Who(groups=tuple(f"w{number}" for number in range(12)))), by(person("ana", *many)))
    assert phrase == (
        "needs group w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 or one of 2 more; "
        "you are in: g0, g1, g2, g3, g4, g5, g6, g7, g8, g9 and 290 more"
    )


@pytest.mark.parametrize(
    ("said", "phrase"),
    [
        (Tags(dag_id="billing_eu"), None),
        (Tags(dag_id="billing"), None),
        (Tags(dag_id="Billing"), "needs tag dag_id like billing*; you said Billing"),
        (Tags(dag_id="my-billing"), "needs tag dag_id like billing*; you said my-billing"),
        (Tags(dag_id=""), "needs tag dag_id like billing*; you said "),
        (Tags(), "needs tag dag_id like billing*; you said none"),
    ],
)
def test_a_tag_fits_a_glob(said: Tags, phrase: str | None) -> None:
    wanted = Rule("r", ALLOW, HERE, Who(), tags={"dag_id": ("billing*",)})
    assert phrases(wanted, by(person(), tags=said)) == ([phrase] if phrase else [])


def test_a_tag_that_is_a_number_fits_its_digits() -> None:
    wanted = Rule("r", ALLOW, HERE, Who(), tags={"try_number": ("1", "2")})
    assert phrases(wanted, by(person(), tags=Tags(try_number=2))) == []
    assert phrases(wanted, by(person(), tags=Tags(try_number=12))) == ["needs tag try_number like 1 or 2; you said 12"]


def test_what_a_tag_says_comes_out_printable_and_short() -> None:
    wanted = Rule("r", ALLOW, HERE, Who(), tags={"dag_id": ("b*",)})
    (phrase,) = phrases(wanted, by(person(), tags=Tags(dag_id="\x1b[2J\n" + "x" * 999)))
    assert phrase.isprintable()
    assert len(phrase) < 120


@pytest.mark.parametrize("blank", [None, "", "  \n"])
def test_a_reason_must_say_something(blank: str | None) -> None:
    wanted = Rule("r", ALLOW, HERE, Who(), require=("reason", "ticket", "run_id"))
    said = by(person(), tags=Tags(reason=blank, run_id="r1"))
    assert phrases(wanted, said) == ["needs a reason (--reason)", "needs a ticket (--ticket)"]
    assert phrases(wanted, by(person(), tags=Tags(reason="x", ticket="T-1"))) == ["needs tag run_id"]


@pytest.mark.parametrize(
    ("start", "end", "moment", "open_"),
    [
        ("08:00", "18:00", "2026-01-07T08:00", True),
        ("08:00", "18:00", "2026-01-07T07:59:59", False),
        ("08:00", "18:00", "2026-01-07T17:59:59", True),
        ("08:00", "18:00", "2026-01-07T18:00", False),
        ("08:00", "18:00", "2026-01-10T12:00", False),  # Saturday
        ("00:00", "00:00", "2026-01-09T23:59:59", True),  # Friday, all day
        ("00:00", "00:00", "2026-01-10T00:00", False),
        ("20:00", "00:00", "2026-01-09T23:59:59", True),
        ("20:00", "00:00", "2026-01-09T19:59", False),
        ("22:00", "06:00", "2026-01-09T23:00", True),  # Friday evening
        ("22:00", "06:00", "2026-01-10T05:59", True),  # Saturday morning belongs to Friday's window
        ("22:00", "06:00", "2026-01-10T06:00", False),
        ("22:00", "06:00", "2026-01-10T22:00", False),  # Saturday evening begins none
        ("22:00", "06:00", "2026-01-11T05:00", False),
        ("22:00", "06:00", "2026-01-12T05:00", False),  # Monday morning would belong to Sunday's
        ("22:00", "06:00", "2026-01-09T12:00", False),
    ],
)
def test_a_window_is_open_from_its_first_to_before_its_last_minute(start: str, end: str, moment: str, open_: bool) -> None:
    when = When(BERLIN, frozenset(range(5)), time.fromisoformat(start), time.fromisoformat(end), "w")
    now = datetime.fromisoformat(moment).replace(tzinfo=BERLIN).astimezone(UTC)
    assert (phrases(Rule("r", ALLOW, HERE, Who(), when=when), by(person()), now) == []) is open_


def test_a_window_follows_its_zone_through_summer_time() -> None:
    wanted = Rule("r", ALLOW, HERE, Who(), when=When(BERLIN, start=time(8), end=time(9), phrase="08:00-09:00 Europe/Berlin"))
    assert phrases(wanted, by(person()), datetime(2026, 1, 7, 7, 30, tzinfo=UTC)) == []
    assert phrases(wanted, by(person()), datetime(2026, 7, 7, 6, 30, tzinfo=UTC)) == []
    assert phrases(wanted, by(person()), datetime(2026, 7, 7, 7, 30, tzinfo=UTC)) == [
        "only 08:00-09:00 Europe/Berlin; it is Tue 09:30"
    ]


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("fd00::1", True),
        ("fe80::1%eth0", False),
    ],
)
def test_a_client_is_in_a_network_by_its_address(source: str, inside: bool) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    for effect in Effect:
        found = phrases(Rule("r", effect, HERE, Who(), networks=networks), by(person(), source))
        assert (found == []) is inside


@pytest.mark.parametrize("source", [None, "", "unix", "10.0.0.1:22"])
def test_an_unknown_address_speaks_against_the_client(source: str | None) -> None:
    networks = (ip_network("10.0.0.0/8"),)
    allow, deny = (Rule("r", effect, HERE, Who(), networks=networks) for effect in (ALLOW, DENY))
    assert phrases(allow, by(person(), source)) == ["only from 10.0.0.0/8; you come from an unknown address"]
    assert phrases(deny, by(person(), source)) == []


@pytest.mark.parametrize(
    ("denies", "phrase"),
    [
        (rule(effect=DENY), "denied to anyone"),
        (rule(Who(groups=("a", "b")), DENY), "denied to group a or b"),
        (rule(Who(users=("eve",), issuers=("https://i",)), DENY), "denied to user eve with logins from https://i"),
        (rule(Who(kind=PrincipalKind.WORKLOAD), DENY), "denied to workloads"),
        (rule(Who(kind=PrincipalKind.PERSON, claims={"team": ("x",)}), DENY), "denied to team x with persons"),
        (
            Rule("r", DENY, HERE, Who(), tags={"dag_id": ("x*",)}, networks=(ip_network("10.0.0.0/8"),)),
            "denied to anyone, with tag dag_id like x*, from 10.0.0.0/8",
        ),
    ],
)
def test_a_rule_that_denies_says_whom(denies: Rule, phrase: str) -> None:
    assert describe(denies) == phrase
