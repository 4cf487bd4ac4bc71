"""The store's tables. SQLite and PostgreSQL have them alike; what is new comes as a table of its own.

    session     who was granted what, until when, on which gateway, and how it ended
    roll        which sessions run where, now, and what went through them
    replica     which gateways live: what a dead one had on the roll does not count
    lease       a temporary login that was, or was about to be, made: written down before, struck out after
    revocation  a session, or everything that a principal was granted up to a moment
    lock        a person, group, workload or target for whom, or for which, nothing opens
    order       what an operator did at the store, and no audit knows yet
    use         how often a token was shown for a grant: known by its issuer's id of it

Nothing secret is stored: a lease is known by its id.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware time as microseconds since 1970: SQLite keeps no time zones, and integers compare alike everywhere."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


METADATA = sa.MetaData()
VERSION = sa.Table(
    "schema_version",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)
SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("gateway", sa.Text, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("principal", sa.JSON, nullable=False),
    sa.Column("targets", sa.JSON, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("issued_at", Moment, nullable=False),
    sa.Column("valid_before", Moment, nullable=False),
    sa.Column("ends_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    sa.Column("end_reason", sa.Text),
)
LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("lease_id", sa.Text, primary_key=True),
    sa.Column("session", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("gateway", sa.Text, nullable=False, index=True),
    sa.Column("expires", Moment, nullable=False),
)
REVOKED_SESSIONS = sa.Table(
    "revoked_sessions",
    METADATA,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("until", Moment, nullable=False),
)
REVOKED_PRINCIPALS = sa.Table(
    "revoked_principals",
    METADATA,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
)
USES = sa.Table(
    "uses",
    METADATA,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("jti", sa.Text, primary_key=True),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Column("expires", Moment, nullable=False),
)
ROLL = sa.Table(
    "roll",
    METADATA,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("gateway", sa.Text, primary_key=True, index=True),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("source", sa.Text),
    sa.Column("connections", sa.Integer, nullable=False),
    sa.Column("bytes_up", sa.BigInteger, nullable=False),
    sa.Column("bytes_down", sa.BigInteger, nullable=False),
)
REPLICAS = sa.Table(
    "replicas",
    METADATA,
    sa.Column("gateway", sa.Text, primary_key=True),
    sa.Column("seen", Moment, nullable=False),
)
LOCKS = sa.Table(
    "locks",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("until", Moment),
)
ORDERS = sa.Table(
    "orders",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("session", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
)
