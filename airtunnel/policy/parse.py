"""The language of rules: from an item of `rules` to a rule.

Each table is a Form, which is what reads it and what the published schema says of it.
"""

from collections.abc import Iterator
from datetime import time

from airtunnel.config.document import Node, Scalar, fault
from airtunnel.config.table import Table, likely, raw
from airtunnel.config.values import cut
from airtunnel.errors import ConfigError
from airtunnel.model import Limits, PrincipalKind
from airtunnel.policy import kinds
from airtunnel.policy.form import Entry, Form, Key, Kind
from airtunnel.policy.rules import Effect, Rule, When, Who

GROUPS = Key("groups", kinds.EXACT, "Groups of the login, of which one must be there. To the letter.")
USERS = Key(
    "users", kinds.EXACT, "Names of the login (for people mostly the e-mail address), of which one must be it. To the letter."
)
CLAIMS = Key(
    "claims",
    kinds.WANTED,
    "Claims of the token, all of which must have one of the values. `*` stands for any text: `ref: refs/heads/release/*`; "
    "all else is compared to the letter. The gateway knows the claims that its provider's `keep` names.",
)
KIND = Key("kind", kinds.word_of(PrincipalKind), "Only people, or only workloads.")
ISSUER = Key("issuer", kinds.EXACT, "Issuers of the token, of which one must be it. To the letter.")
WHO_TABLE = Form((GROUPS, USERS, CLAIMS, KIND, ISSUER), more={"minProperties": 1})


def _who(node: Node) -> Who:
    if isinstance(node, Scalar):
        if raw(node) != "anyone":
            raise fault(node, "`who` is a table of groups, users, claims, kind and issuer; or the word anyone")
        return Who()
    if not Table(node).node.entries:
        raise fault(node, "`who` is empty; if everybody is meant: `who: anyone`")
    entry = WHO_TABLE.read(node)
    return Who(
        groups=entry.get(GROUPS, ()),
        users=entry.get(USERS, ()),
        claims=entry.get(CLAIMS, {}),
        kind=entry.get(KIND, None),
        issuers=entry.get(ISSUER, ()),
    )


SPANS = Key("days", kinds.DAY_SPANS, "Days, or spans of them: `[mon-fri, sun]`. Every day if it is left out.")
HOURS = Key("hours", kinds.HOURS, "From and to, on the zone's clock; `22:00-06:00` belongs to the day on which it begins.")
ZONE = Key("timezone", kinds.ZONE, "Whose clock it is.", needed=True)


def _when_checks(entry: Entry) -> Iterator[ConfigError]:
    if ZONE in entry and SPANS not in entry and HOURS not in entry:
        yield entry.fault(ZONE, "`when` says neither `days` nor `hours`")


WHEN_TABLE = Form((SPANS, HOURS, ZONE), _when_checks, {"anyOf": [{"required": ["days"]}, {"required": ["hours"]}]})


def _when(entry: Entry) -> When:
    spans = entry.get(SPANS, ())
    start, end, hours = entry.get(HOURS, (time(0), time(0), ""))
    zone = entry.need(ZONE)
    days = frozenset().union(*(span for span, _ in spans)) if spans else frozenset(range(7))
    parts = (",".join(word for _, word in spans), hours, zone.key)
    return When(zone, days, start, end, " ".join(part for part in parts if part))


DURATION = Key("duration", kinds.LENGTH, "How long a session may last; an hour if it is left out.")
IDLE = Key("idle", kinds.LENGTH, "End a connection on which nothing was said for so long.")
CONNECTIONS = Key("connections", kinds.COUNT, "How many connections a session may have at a time.")
BYTES = Key("bytes", kinds.SIZE, "How much a session may carry, both ways together: 500MB, 10GB, 1GiB.")
LIMITS_TABLE = Form((DURATION, IDLE, CONNECTIONS, BYTES))


def _limits(entry: Entry) -> Limits:
    return Limits(
        duration=entry.get(DURATION, Limits().duration),
        idle=entry.get(IDLE, None),
        connections=entry.get(CONNECTIONS, None),
        bytes=entry.get(BYTES, None),
    )


NAME = Key("name", kinds.RULE_NAME, "What refusals and the audit call this rule.", needed=True)
EFFECT = Key("effect", kinds.word_of(Effect), "A rule that denies wins over all that allow.", needed=True)
WHO = Key(
    "who",
    Kind(_who, {"anyOf": [{"const": "anyone"}, WHO_TABLE.schema]}),
    "Whom the rule is about: all that is said must fit. `anyone` must be said.",
    needed=True,
)
TARGETS = Key("targets", kinds.TEXTS, "Names of targets, or patterns with `*`, `?` and `[ab]`.")
SELECT = Key("labels", kinds.WANTED, "Labels that the target must have, each with one of the values.")
TAGS = Key("tags", kinds.TAGS, "Patterns (`*`, `?`, `[ab]`) for what the request says about its purpose.")
REQUIRE = Key("require", kinds.TAG_LIST, "Tags that must be said, whatever they say: `[reason]`, `[ticket]`.")
WHEN = Key("when", WHEN_TABLE.kind(_when), "A weekly window.")
FROM = Key("from", kinds.some_of(kinds.NETWORK), "Networks of which the client must be in one.")
LIMITS = Key("limits", LIMITS_TABLE.kind(_limits), "How much a session may have.")


def _rule_checks(entry: Entry) -> Iterator[ConfigError]:
    if TARGETS not in entry and SELECT not in entry and not any(likely(one, ("targets", "labels")) for one in entry.unknown):
        about = '`targets: [...]`, `labels: {...}`, or `targets: "*"`'
        yield entry.fault(NAME, f"{cut(entry.get(NAME, 'the rule'))} does not say what it is about: {about}")
    if entry.get(EFFECT, None) is Effect.DENY:
        for key in (REQUIRE, LIMITS):
            if key in entry:
                yield entry.fault(key, f"`{key.name}` has no meaning in a rule that denies")


RULE = Form(
    (NAME, EFFECT, WHO, TARGETS, SELECT, TAGS, REQUIRE, WHEN, FROM, LIMITS),
    _rule_checks,
    {
        "anyOf": [{"required": ["targets"]}, {"required": ["labels"]}],
        "if": {"properties": {"effect": {"const": "deny"}}, "required": ["effect"]},
        "then": {"properties": {"require": False, "limits": False}},
    },
)


def read_rule(node: Node) -> Rule:
    """One item of `rules`. Raises ConfigError, or an ExceptionGroup of several."""
    entry = RULE.read(node)
    return Rule(
        name=entry.need(NAME),
        effect=entry.need(EFFECT),
        place=node.place,
        who=entry.need(WHO),
        targets=entry.get(TARGETS, ()),
        labels=entry.get(SELECT, {}),
        tags=entry.get(TAGS, {}),
        require=tuple(dict.fromkeys(entry.get(REQUIRE, ()))),
        when=entry.get(WHEN, None),
        networks=entry.get(FROM, ()),
        limits=entry.get(LIMITS, Limits()),
    )
