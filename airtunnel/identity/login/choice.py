"""Which of the gateway's login flows is used here. Pure: what decides is passed in."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from airtunnel.errors import LoginFailed
from airtunnel.identity.answer import printable
from airtunnel.identity.login.refusal import again
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.wire.control import Published

Flow: TypeAlias = Literal["device", "browser"]
FLOWS: tuple[Flow, ...] = ("device", "browser")
NAMES = {"device": "a code", "browser": "the browser"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A flow, why it is this one, and the other one that would do here as well, if there is one.

    surprising: it is not simply what was asked for, or what the gateway names first
    """

    flow: Flow
    why: str
    other: Flow | None = None
    surprising: bool = False

    @property
    def words(self) -> str:
        """The choice in a sentence, with the option that gives the other."""
        said = f"logging in with {NAMES[self.flow]}: {self.why}"
        return f"{said}; --flow {self.other} does it with {NAMES[self.other]}" if self.other else said


def choose_flow(
    published: Published, metadata: ProviderMetadata, wanted: Flow | None = None, local_browser: bool = True
) -> Choice:
    """The flow of a login: the one wanted, else the first that the gateway publishes, the provider has and this place allows.

    local_browser: whether a browser can be opened on this machine
    Raises LoginFailed, naming what there is instead, if none is left.
    """
    offered = known_flows(published)
    obstacles = {one: why for one in FLOWS if (why := _obstacle(one, published, metadata))}
    if wanted is not None:
        return _wanted(wanted, published, offered, obstacles)
    able = tuple(one for one in offered if one not in obstacles)
    if not able:
        raise LoginFailed(obstacles[offered[0]], details=tuple(obstacles[one] for one in offered[1:]))
    first = able[0]
    other = able[1] if len(able) > 1 else None
    if first == "browser" and not local_browser:
        if other:
            return Choice("device", "there is no browser on this machine", "browser", surprising=True)
        return Choice("browser", f"there is no browser here, and {_only('browser', offered, obstacles)}", surprising=True)
    if first != offered[0]:
        return Choice(first, obstacles[offered[0]], surprising=True)
    why = "the gateway names it first" if other else _only(first, offered, obstacles)
    return Choice(first, why, other)


def known_flows(published: Published) -> tuple[Flow, ...]:
    """The published flows that this version knows, the preferred one first. Raises LoginFailed if it knows none of them."""
    offered = tuple(sorted((one for one in FLOWS if one in published.flows), key=published.flows.index))
    if not offered:
        ways = ", ".join(printable(one)[:40] for one in published.flows) or "no way at all"
        raise LoginFailed(f"this version cannot log in as the gateway asks: {ways}", hint="pip install --upgrade airtunnel")
    return offered


def after(refused: Flow, why: str, published: Published, metadata: ProviderMetadata) -> Choice | None:
    """The flow that is left when the provider has refused the other one; None if none is."""
    for one in FLOWS:
        if one != refused and one in published.flows and not _obstacle(one, published, metadata):
            return Choice(one, why, surprising=True)
    return None


def _wanted(wanted: Flow, published: Published, offered: tuple[Flow, ...], obstacles: dict[Flow, str]) -> Choice:
    able = [one for one in offered if one not in obstacles and one != wanted]
    hint = f"{again(published)} --flow {able[0]}" if able else None
    if wanted not in offered:
        names = " and ".join(offered)
        raise LoginFailed(f"the gateway does not allow --flow {wanted}: it publishes {names}", hint=hint)
    if wanted in obstacles:
        raise LoginFailed(obstacles[wanted], hint=hint)
    return Choice(wanted, f"--flow {wanted} asks for it", able[0] if able else None)


def _obstacle(flow: Flow, published: Published, metadata: ProviderMetadata) -> str:
    """Why a flow cannot work at this provider; empty if it can."""
    if flow == "device" and published.binding == "nonce":
        return "the gateway ties logins to a key by their nonce, and a login with a code has none"
    if flow == "device" and metadata.device_authorization_endpoint is None:
        return f"{metadata.issuer} offers no login by device code"
    if flow == "browser" and metadata.authorization_endpoint is None:
        return f"{metadata.issuer} offers no login in the browser"
    return ""


def _only(flow: Flow, offered: tuple[Flow, ...], obstacles: dict[Flow, str]) -> str:
    return next((obstacles[one] for one in offered if one in obstacles), "the gateway offers nothing else")
