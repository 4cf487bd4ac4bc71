"""The language of targets: what it says, and what is wrong with one, at which place."""

from pathlib import Path

import pytest

from airtunnel.policy.load import load_policy
from tests.policy.shop import complaint, write_policy


def target(extra: str, name: str = "one", address: str = "one:1", protocol: str = "postgres") -> str:
    return f"targets:\n  {name}:\n    protocol: {protocol}\n    address: {address}\n    {extra}\n"


FAULTY_TARGETS = [
    (target("databse: x"), "5:5: unknown key `databse` in one; did you mean `database`?"),
    (target("", name="One"), "2:3: `One` is no name; names are a-z"),
    (target("", name="a" * 64), f"2:3: `{'a' * 64}` is no name; names are a-z"),
    (target("", name="-one"), "2:3: `-one` is no name; names are a-z"),
    (target("", protocol="postgresql"), "3:15: `protocol` is postgres or tcp, not `postgresql`; did you mean `postgres`?"),
    (target("", address="one"), "4:14: `address`: `one` is not an address like db.internal:5432"),
    (target("tls: 'on'"), "5:10: `tls` is off, or a table of verify, ca and name"),
    (target("tls: {verify: none}"), "5:19: `verify` is full, not `none`: an unverified server could be anybody"),
    (target("tls: {verify: full}", address="unix:/x"), "5:5: a unix socket has no TLS; leave `tls` out"),
    (target("credential: {admin: x}"), "5:17: `source` is missing in credential"),
    (target("credential: {source: x, admin: [y]}"), "5:36: `admin` is one value"),
    (target("credential: {source: x}", protocol="tcp"), "5:5: the gateway can log in for a client only"),
    (target("airflow: {}"), "5:14: `connection` is missing in airflow"),
    (target("labels: {env: [a]}"), "5:19: `env` is one value"),
    ("targets: {one: x}", "1:16: `one` is a table of `key: value` lines"),
    ("target: {}", "1:1: unknown key `target`; did you mean `targets`?"),
    ("rules: {}", "1:8: `rules` is a list"),
    ("", "1:1: the file is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTY_TARGETS)
def test_what_is_wrong_with_a_target_is_named_at_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert complaint(tmp_path, text).startswith(f"policy/shop.yaml:{message}")


def test_tls_is_on_unless_the_policy_says_off(tmp_path: Path) -> None:
    text = (
        target("")
        + target("tls: off", name="two").removeprefix("targets:\n")
        + target("tls: off", name="three", address="unix:/x").removeprefix("targets:\n")
    )
    targets = load_policy(write_policy(tmp_path, shop=text)).targets
    assert {name: one.tls for name, one in targets.items()} == {"one": True, "two": False, "three": False}
