"""A shop's policy, as its files would be, and the people who ask."""

from datetime import UTC, datetime
from pathlib import Path

from airtunnel.errors import ConfigError
from airtunnel.model import Principal, PrincipalKind, Request, Tags
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy

PROD = """\
targets:
  postgres-prod:
    protocol: postgres
    address: db.internal:5432
    database: shop
    labels: {env: production, team: shop}
    credential: {source: postgres-role, admin: broker, admin_password_file: ../secrets/admin, role: shop_rw}
    airflow: {connection: warehouse}
  payroll:
    protocol: postgres
    address: pay.internal:5432
    tls: {verify: full, ca: ca.pem, name: pay.example.com}
rules:
  - name: prod-is-for-on-call
    effect: allow
    who: {groups: [on-call]}
    targets: [postgres-prod]
    require: [reason]
    limits: {duration: 30m, idle: 10m, connections: 20}
  - name: no-contractors
    effect: deny
    who: {groups: [contractors]}
    labels: {env: production}
"""

STAGING = """\
targets:
  postgres-staging:
    protocol: postgres
    address: staging.internal:5432
    database: shop
    labels: {env: staging, team: shop}
  legacy:
    protocol: tcp
    address: unix:run/legacy.sock
rules:
  - name: engineers-reach-staging
    effect: allow
    who: {groups: [data-eng, on-call]}
    targets: ["*-staging"]
  - name: billing-job
    effect: allow
    who: {kind: workload, claims: {namespace: airflow}, issuer: https://kube.example}
    targets: [postgres-staging, legacy]
    tags: {dag_id: "billing*"}
  - name: legacy-by-day
    effect: allow
    who: {users: [ana@example.com]}
    targets: [legacy]
    when: {days: [mon-fri], hours: "08:00-18:00", timezone: Europe/Berlin}
    from: [10.0.0.0/8, "fd00::/8"]
"""

WEDNESDAY = datetime(2026, 1, 7, 11, 0, tzinfo=UTC)
SUNDAY = datetime(2026, 1, 11, 2, 0, tzinfo=UTC)


def write_policy(home: Path, **files: str) -> Path:
    """A directory `policy` with the given files; the shop's, if none is given."""
    directory = home / "policy"
    directory.mkdir(exist_ok=True)
    for name, text in (files or {"prod": PROD, "staging": STAGING}).items():
        (directory / f"{name}.yaml").write_text(text)
    return directory


def complaints(home: Path, text: str) -> list[str]:
    """Everything that is wrong with a policy of one file."""
    found: list[str] = []
    try:
        load_policy(write_policy(home, shop=text))
    except* ConfigError as errors:
        found = [str(error) for error in errors.exceptions]
    return found


def complaint(home: Path, text: str) -> str:
    """The only thing that is wrong with it."""
    (only,) = complaints(home, text)
    return only


def shop(home: Path) -> Policy:
    return load_policy(write_policy(home))


def person(name: str = "ana@example.com", *groups: str) -> Principal:
    return Principal(PrincipalKind.PERSON, "https://login.example.com", f"id of {name}", name, groups)


def job(**claims: object) -> Principal:
    return Principal(PrincipalKind.WORKLOAD, "https://kube.example", "sa", "airflow-worker", (), claims)


def ask(who: Principal, target: str, source: str | None = "10.1.2.3", **tags: str) -> Request:
    said = Tags(dag_id=tags.get("dag_id"), task_id=tags.get("task_id"), reason=tags.get("reason"), ticket=tags.get("ticket"))
    return Request(who, target, said, source)
