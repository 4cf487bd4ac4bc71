"""Several airtunnel processes that hold one login, and find it expired at the same moment."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airtunnel
from airtunnel.identity.store import FileStore
from airtunnel.identity.tokens import load_tokens, save_tokens
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published

ROOT = Path(airtunnel.__file__).parents[1]
GATEWAY = "gateway.example.com"
RACER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from airtunnel.errors import AirtunnelError
from airtunnel.identity.store import FileStore
from airtunnel.identity.tokens import fresh_tokens
from airtunnel.wire.control import Published
import httpx2

directory, gateway = Path(sys.argv[1]), sys.argv[2]
published = Published.decode((directory / "published.json").read_bytes())
store = FileStore(directory / "tokens")
print("ready", flush=True)
for _ in sys.stdin:
    try:
        fresh = fresh_tokens(store, published, gateway, now=datetime.now(UTC), locks=directory / "locks")
        print(asyncio.run(fresh).access_token)
    except AirtunnelError as error:
        print(f"error: {error.message}")
    sys.stdout.flush()
"""


@contextmanager
def racing(directory: Path, published: Published, tokens: TokenSet, count: int) -> Iterator[Callable[[], list[str]]]:
    """`count` processes for the login of `tokens`. What it gives lets that login expire, and all of them want it at once.

    That gives what each of them got: an access token, or `error: ` and why not.
    """
    store = FileStore(directory / "tokens")
    save_tokens(store, published, GATEWAY, tokens)
    (directory / "published.json").write_bytes(published.encode())
    command = [sys.executable, "-c", RACER, str(directory), GATEWAY]
    with ExitStack() as ending:
        racers = [
            ending.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT))
            for _ in range(count)
        ]
        assert [_heard(one) for one in racers] == ["ready"] * count

        def race() -> list[str]:
            kept = load_tokens(store, GATEWAY, published.issuer)
            assert kept is not None
            save_tokens(store, published, GATEWAY, replace(kept, expires_at=datetime.now(UTC) - timedelta(seconds=1)))
            for one in racers:
                _tell(one)
            return [_heard(one) for one in racers]

        yield race


def _tell(racer: "subprocess.Popen[str]") -> None:
    assert racer.stdin is not None
    racer.stdin.write("go\n")
    racer.stdin.flush()


def _heard(racer: "subprocess.Popen[str]") -> str:
    assert racer.stdout is not None
    return racer.stdout.readline().strip()
