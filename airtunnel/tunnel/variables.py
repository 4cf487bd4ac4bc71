"""The environment of a command that runs inside tunnels."""

import json

from airtunnel.model import Protocol
from airtunnel.tunnel.tunnels import Tunnels


def variables(tunnels: Tunnels) -> dict[str, str]:
    """The environment of a command that runs inside `tunnels`: libpq's own names for the first, ours for each."""
    ways = list(tunnels.ways.values())
    named: dict[str, str] = {}
    for way in ways:
        prefix = "AIRTUNNEL_" + "".join(one if one.isalnum() else "_" for one in way.target.name).upper()
        named |= {f"{prefix}_HOST": way.host, f"{prefix}_PORT": str(way.port), f"{prefix}_URL": way.url}
    listed = [{"name": way.target.name, "host": way.host, "port": way.port, "protocol": way.target.protocol} for way in ways]
    named |= {"AIRTUNNEL_SESSION_ID": tunnels.reply.session, "AIRTUNNEL_TARGETS": json.dumps(listed)}
    first = next((way for way in ways if way.target.protocol == Protocol.POSTGRES), None)
    if first is not None:
        named |= {
            "PGHOST": first.host or first.directory,
            "PGPORT": str(first.port or 5432),
            "PGUSER": first.user,
            "PGPASSWORD": first.password,
            "PGDATABASE": first.database,
            # No TLS on the loopback: the tunnel is the encryption, and a user's own PGSSLMODE=require would not connect.
            "PGSSLMODE": "disable",
            "DATABASE_URL": first.url,
        }
    return named
