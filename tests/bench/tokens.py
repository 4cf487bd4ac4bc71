"""How long a gateway takes to refuse each hostile token, beside what a plain library takes for a good one in the same run.

The goal is 5 ms for each: who sends rubbish must not cost more than who sends a login. Keys are at hand, as they are in a
gateway that runs: only a token with a new key's id makes a request, and that once in half a minute.
"""

import asyncio
import functools
import gc
import importlib.util
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from joserfc import jwt

from airtunnel.errors import TokenRejected
from airtunnel.identity.verify.verifier import Verifier
from tests.identity.forge import RSA, Attempt, proof, shown, signed, verifier
from tests.identity.forge import bound as bound_token
from tests.identity.hostile import JWTS, KEYS
from tests.identity.hostile_proofs import PROOFS
from tests.identity.provider import AUDIENCE, Provider, providing

GOAL = 5.0
"""Milliseconds."""
ROUNDS = 30
Found = dict[str, Any]  # Any: JSON
Spent = tuple[float, float]


def measure() -> Found:
    """Milliseconds for every token of the table, and for the peer; `ratio` is to the peer's median."""
    # Else what is timed now and then is a collection of all that was ever imported: 16 ms, in the middle of whatever runs.
    gc.freeze()
    with providing() as provider:
        provider.keys = list(KEYS)
        peer, check = _peer(signed(provider))
        usual = _summary(_timed(check))
        return {
            "peer": {"name": f"{peer}, a good token, RS256", **usual},
            "good": {name: _with_ratio(one, usual) for name, one in asyncio.run(_good(provider)).items()},
            "hostile": {name: _with_ratio(one, usual) for name, one in asyncio.run(_hostile(provider)).items()},
            "goal_ms": GOAL,
        }


def table(found: Found) -> str:
    """The same for a person: the slowest first."""
    lines = [f"{'median ms':>9} {'max ms':>7} {'CPU max':>7} {'ratio':>6}"]
    rows = [(found["peer"]["name"], found["peer"] | {"ratio": 1.0}), *found["good"].items()]
    rows += sorted(found["hostile"].items(), key=lambda row: -row[1]["median_ms"])
    lines += [
        f"{one['median_ms']:9.3f} {one['max_ms']:7.3f} {one['max_cpu_ms']:7.3f} {one['ratio']:6.2f}  {name!a}"
        for name, one in rows
    ]
    slow = [name for name, one in found["hostile"].items() if one["max_cpu_ms"] >= GOAL]
    lines.append(f"{len(found['hostile'])} hostile tokens, {len(slow)} of them not refused within {GOAL:g} ms")
    return "\n".join(lines) + "\n"


def _peer(token: str) -> tuple[str, Callable[[], object]]:
    """PyJWT where it is installed, else joserfc by itself."""
    if importlib.util.find_spec("jwt") is not None:
        pyjwt = importlib.import_module("jwt")
        key = RSA.as_pem(private=False)
        options = {"verify_exp": False, "verify_iat": False}
        decode = pyjwt.decode
        return f"PyJWT {pyjwt.__version__}", lambda: decode(
            token, key, algorithms=["RS256"], audience=AUDIENCE, options=options
        )
    registry = jwt.JWTClaimsRegistry(now=0, leeway=10**10, aud={"essential": True, "value": AUDIENCE})
    return "joserfc", lambda: registry.validate(jwt.decode(token, RSA, algorithms=["RS256"]).claims)


def _timed(check: Callable[[], object]) -> list[Spent]:
    took = []
    for _ in range(ROUNDS * 5):
        start = _now()
        check()
        took.append(_since(start))
    return took


async def _good(provider: Provider) -> dict[str, Found]:
    token, plain = bound_token(provider), signed(provider)
    gate = verifier(provider)
    proofs = iter([proof(token, jti=str(number)) for number in range(ROUNDS + 1)])
    return {
        "good, a bearer's": await _rounds(lambda: gate.verify(plain)),
        "good, bound, with a proof": await _rounds(lambda: gate.verify(token, shown(next(proofs)))),
    }


async def _hostile(provider: Provider) -> dict[str, Found]:
    known: dict[str, Verifier] = {}
    found = {}
    for name, (make, _) in (JWTS | PROOFS).items():
        attempt = make(provider)
        gate = known.setdefault(repr(attempt.settings), verifier(provider, **attempt.settings))
        found[name] = await _rounds(functools.partial(_refused, gate, attempt))
    return found


async def _refused(gate: Verifier, attempt: Attempt) -> None:
    try:
        await gate.verify(attempt.token, attempt.shown)
    except TokenRejected:
        return
    raise AssertionError("a hostile token was accepted")


async def _rounds(check: Callable[[], Awaitable[object]]) -> Found:
    """The first one, which may fetch keys, is not counted."""
    await check()
    took = []
    for _ in range(ROUNDS):
        start = _now()
        await check()
        took.append(_since(start))
    return _summary(took)


def _now() -> Spent:
    return time.perf_counter() * 1000, time.thread_time() * 1000


def _since(start: Spent) -> Spent:
    wall, cpu = _now()
    return wall - start[0], cpu - start[1]


def _summary(took: list[Spent]) -> Found:
    """By the clock on the wall; `max_cpu_ms` leaves out what others did on the machine meanwhile."""
    wall, cpu = zip(*took, strict=True)
    figures = {"median_ms": statistics.median(wall), "max_ms": max(wall), "max_cpu_ms": max(cpu)}
    return {name: round(value, 4) for name, value in figures.items()}


def _with_ratio(one: Found, usual: Found) -> Found:
    return one | {"ratio": round(one["median_ms"] / usual["median_ms"], 2)}
