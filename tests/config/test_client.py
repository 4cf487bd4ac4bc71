"""The client's file: what is kept, how it is written, and what is wrong with one."""

import stat
import threading
from pathlib import Path

import pytest

from airtunnel.config.client import ClientConfig, Context, config_directory, state_directory
from airtunnel.errors import ConfigError, LoginRequired

SHOP = Context("shop", "gateway.shop.example:443")
BANK = Context(
    name="bank.example",
    gateway="bank.example:8443",
    ca="/etc/bank.pem",
    store="file",
    subject="00u1",
    user='ana "the" dev@bank.example',
    issuer="https://login.bank.example",
)


def load(home: Path, text: str) -> ClientConfig:
    (home / "config.toml").write_text(text)
    return ClientConfig.load(home)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    config = ClientConfig.load(tmp_path)
    config.put(SHOP)
    config.put(BANK)
    config.save()
    again = ClientConfig.load(tmp_path)
    assert again == config
    assert again.contexts == {"shop": SHOP, "bank.example": BANK}
    assert again.context() == BANK
    assert again.context("shop") == SHOP


def test_nobody_is_logged_in_before_the_first_login(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired) as caught:
        ClientConfig.load(tmp_path).context()
    assert (caught.value.message, caught.value.hint) == ("not logged in to any gateway", "airtunnel login HOST")


def test_an_unknown_context_is_named_with_the_likely_one(tmp_path: Path) -> None:
    config = ClientConfig(tmp_path / "config.toml", {"shop": SHOP}, "shop")
    with pytest.raises(LoginRequired) as caught:
        config.context("shp")
    assert (caught.value.message, caught.value.hint) == ("there is no context shp; did you mean shop?", "airtunnel context")


def test_the_last_login_is_the_current_one(tmp_path: Path) -> None:
    config = ClientConfig.load(tmp_path)
    config.put(SHOP)
    config.put(BANK)
    assert config.current == "bank.example"
    config.put(SHOP)
    assert config.current == "shop"


def test_with_one_gateway_left_it_is_the_current_one(tmp_path: Path) -> None:
    third = Context("third", "third.example:443")
    config = ClientConfig(tmp_path, {one.name: one for one in (SHOP, BANK, third)}, "shop")
    config.remove("shop")
    assert config.current is None
    config.current = "third"
    config.remove("third")
    assert config.current == "bank.example"
    config.remove("bank.example")
    config.remove("bank.example")
    assert not config.contexts
    with pytest.raises(LoginRequired):
        config.context()


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    config = ClientConfig.load(tmp_path / "new" / "airtunnel")
    config.put(SHOP)
    config.save()
    assert stat.S_IMODE(config.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.path.parent.stat().st_mode) == 0o700


def test_the_file_is_replaced_and_never_half_written(tmp_path: Path) -> None:
    config = ClientConfig.load(tmp_path)
    config.put(SHOP)
    config.save()
    ended = threading.Event()

    def write() -> None:
        for number in range(200):
            config.contexts = {str(one): Context(str(one), "gateway.example:443") for one in range(number % 30)}
            config.current = None
            config.save()
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not ended.is_set():
            ClientConfig.load(tmp_path)
    finally:
        writer.join()
    assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    config = ClientConfig(tmp_path / "config.toml", {"shop": SHOP})
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be written: "):
        config.save()
    assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = \n", "1: not TOML: "),
        ("\n\ncurrent = 'x\n", "3: not TOML: "),
        ("curent = 'shop'\n", "1: unknown key `curent`; did you mean `current`?"),
        ("\ncurrent = 'shop'\n", "2: `current` names no context: shop"),
        ("\ncurrent = ['shop']\n", "2: `current` names no context: ['shop']"),
        ("contexts = 1\n", "1: `contexts` is a table"),
        ("[contexts]\nshop = 1\n", "2: the context shop is a table"),
        ("[contexts.shop]\n", "1: `gateway` of shop: `` is not an address like db.internal:5432"),
        ("[contexts.shop]\ngateway = 'shop'\n", "2: `gateway` of shop: `shop` is not an address like db.internal:5432"),
        ("[contexts.shop]\ngateway = 443\n", "2: `gateway` is a text"),
        ("[contexts.shop]\ngateway = 'a:1'\n[contexts.bank]\ngateway = 'b'\n", "4: `gateway` of bank: `b` is not an address"),
        ("[contexts.shop]\ngateway = 'a:1'\nstore = 'disk'\n", "3: `store` is keyring or file or memory"),
        ("[contexts.shop]\ngateway = 'a:1'\nusr = 'ana'\n", "3: unknown key `usr`; did you mean `user`?"),
        ("[contexts.shop]\ngateway = 'a:1'\nname = 'bank'\n", "3: unknown key `name`"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'config.toml'}:{message}")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"config\.toml:1: cannot be read: "):
        ClientConfig.load(tmp_path)


def test_a_file_that_is_nested_without_end_is_an_error_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:1: not TOML: "):
        load(tmp_path, "a = " + "[" * 100_000)


def test_the_environment_chooses_the_directories() -> None:
    environment = {"AIRTUNNEL_CONFIG_DIR": "/c", "AIRTUNNEL_STATE_DIR": "/s"}
    assert (config_directory(environment), state_directory(environment)) == (Path("/c"), Path("/s"))
    assert config_directory({}).name == "airtunnel"
    assert "airtunnel" in state_directory({}).parts


def test_the_directory_of_the_environment_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRTUNNEL_CONFIG_DIR", str(tmp_path))
    assert ClientConfig.load().path == tmp_path / "config.toml"
