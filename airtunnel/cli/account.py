"""From what is typed, set and written down to an account that can be used: which gateway, and as whom.

which gateway   --context, AIRTUNNEL_GATEWAY, the project's file, the latest login
as whom         --identity or AIRTUNNEL_TOKEN[_FILE] (used, or the command fails); the login that was kept;
                without one: a person at a terminal logs in, a machine that AIRTUNNEL_GATEWAY was set for looks around
"""

import contextlib
import os
from typing import TYPE_CHECKING

from airtunnel.cli import output
from airtunnel.errors import LoginFailed, LoginRequired

if TYPE_CHECKING:
    from pathlib import Path

    from airtunnel.config.client import ClientConfig, Context
    from airtunnel.config.project import Project
    from airtunnel.identity.present import Identity
    from airtunnel.tunnel.account import Account

WITHOUT_A_PERSON = (
    "to log in, run this in a terminal; without a person, as in CI or on a worker, set",
    "  AIRTUNNEL_GATEWAY=gateway.example.com, and one of",
    "  AIRTUNNEL_TOKEN_FILE=/path/of/a/token     a token that something else keeps fresh",
    "  AIRTUNNEL_IDENTITY=github                 or gitlab, kubernetes, gcp, aws, client-credentials, auto",
)


async def open_account(name: str | None, identity: str | None = None) -> "Account":
    """The account to use: of the context called `name`, or the one that is meant here; as `identity`, or the login there.

    Raises LoginRequired, Unreachable, ConfigError, UsageError.
    """
    from airtunnel.config.client import ClientConfig

    try:
        workload = _workload(identity)
        here = _meant(ClientConfig.load(), name, workload)
        if workload is None and not output.interactive() and not _kept(here):
            # Nobody can log in here, so there is no need to ask the gateway first.
            workload = _around(here)
        account = await reach(here, workload)
        if workload is None:
            await _ensure_login(account, here)
    except LoginRequired as error:
        if not output.interactive() and identity is None and not os.environ.get("AIRTUNNEL_GATEWAY"):
            error.details = (*error.details, *WITHOUT_A_PERSON)
        raise
    return account


def _meant(config: "ClientConfig", name: str | None, workload: "Identity | None") -> "Context":
    try:
        return find_context(config, name)
    except LoginRequired as error:
        if workload is not None and name is None:
            error.hint = "export AIRTUNNEL_GATEWAY=gateway.example.com"
        raise


def find_context(config: "ClientConfig", name: str | None, project: "Project | None" = None) -> "Context":
    """The context that is meant: by its name, the environment, the project's file, or as the latest login."""
    from airtunnel.config.project import find_project

    if name is not None:
        return config.context(name)
    if gateway := os.environ.get("AIRTUNNEL_GATEWAY"):
        return _at(config, gateway) or _unknown(gateway)
    project = project or find_project()
    if project is None or project.gateway is None:
        return config.context()
    if (known := _at(config, project.gateway)) is not None:
        return known
    raise LoginRequired(
        f"this project's targets are behind {project.gateway}, where you are not logged in",
        details=(f"it says so in {project.path}; log in there if you trust it",),
        hint=f"airtunnel login {project.gateway}",
    )


def gateway_address(typed: str) -> str:
    """`host:port` of what was typed as a gateway. Raises UsageError."""
    from airtunnel.identity.endpoint import gateway_name

    host = gateway_name(typed)
    return host if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else f"{host}:443"


async def reach(context: "Context", identity: "Identity | None" = None) -> "Account":
    """The account of a context, with what its gateway publishes now; as the login there, if not as `identity`.

    Raises Unreachable.
    """
    from airtunnel.identity.present import StoredLogin
    from airtunnel.identity.published import fetch_published
    from airtunnel.identity.store import open_store
    from airtunnel.tunnel.account import Account

    published = await fetch_published(context.gateway, ca=trust(context))
    identity = identity or StoredLogin(open_store(context.store), context.gateway, user=context.subject)
    return Account(context.gateway, published, identity, trust(context))


def trust(context: "Context") -> "Path | None":
    """The file of CA certificates that vouches for the gateway; None for the system's."""
    from pathlib import Path

    return None if context.ca is None else Path(context.ca)


def project_targets() -> list[str]:
    """The targets that the project's file names, which is said; none without such a file."""
    from airtunnel.config.project import find_project

    project = find_project()
    if project is None or not project.targets:
        return []
    output.note(f"Targets of {project.path}: {', '.join(project.targets)}")
    return list(project.targets)


def _workload(wanted: str | None) -> "Identity | None":
    """The identity that was asked for. What needs none is not made to wait for the modules of all of them."""
    if wanted is None and os.environ.get("AIRTUNNEL_IDENTITY") == "":
        raise LoginRequired("AIRTUNNEL_IDENTITY is set, and empty", hint="unset AIRTUNNEL_IDENTITY")
    if wanted is None and "AIRTUNNEL_TOKEN" not in os.environ and "AIRTUNNEL_TOKEN_FILE" not in os.environ:
        return None
    from airtunnel.identity.workload import find_identity

    return find_identity(wanted)


def _around(here: "Context") -> "Identity":
    """An identity that this machine has by itself; asked for by AIRTUNNEL_GATEWAY alone. Raises LoginRequired."""
    if not os.environ.get("AIRTUNNEL_GATEWAY"):
        raise LoginRequired(f"nobody is logged in at {here.gateway}", hint=f"airtunnel login {here.gateway}")
    from airtunnel.identity.workload import find_identity

    found = find_identity("auto")
    assert found is not None  # with `auto` it is found, or an error
    output.note(f"airtunnel: nobody is logged in at {here.gateway}, so this goes as {found.name}")
    return found


def _kept(here: "Context") -> bool:
    """Whether a login is kept for this gateway, of whatever age."""
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import load_tokens

    if here.issuer is None:
        return False
    return load_tokens(open_store(here.store), here.gateway, here.issuer, here.subject) is not None


async def _ensure_login(account: "Account", here: "Context") -> None:
    """A login that can be used: the one that is there, else a new one of the person at this terminal.

    At a gateway that only AIRTUNNEL_GATEWAY names it is for this command alone: nobody has said where to keep it.
    """
    from dataclasses import replace

    from airtunnel.identity.present import StoredLogin

    login = account.identity
    assert isinstance(login, StoredLogin)
    try:
        await account.present()
    except LoginFailed:
        raise  # the provider refuses the gateway's client: another login would end the same way
    except LoginRequired as error:
        if not output.interactive():
            raise
        if here.store == "memory":
            with contextlib.suppress(LoginRequired):
                account.identity = _around(here)
                return
        from airtunnel.cli.login import log_in_once

        output.note(f"{error.message[:1].upper()}{error.message[1:]}.")
        there = await log_in_once(account.published, here, store=login.store)
        account.identity = replace(login, user=there.subject)


def _at(config: "ClientConfig", gateway: str) -> "Context | None":
    """The context of that gateway: the current one if several are."""
    address = gateway_address(gateway)
    known = [one for one in config.contexts.values() if one.gateway == address]
    current = next((one for one in known if one.name == config.current), None)
    return current or (known[0] if known else None)


def _unknown(gateway: str) -> "Context":
    """A gateway where nobody logged in: for workloads, whose tokens are not kept."""
    from airtunnel.config.client import Context

    return Context(gateway, gateway_address(gateway), ca=os.environ.get("AIRTUNNEL_CA") or None, store="memory")
