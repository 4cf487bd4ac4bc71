import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx2
import pytest

from airtunnel.demo.people import PEOPLE
from airtunnel.demo.person import approve
from airtunnel.demo.provider import Provider
from airtunnel.errors import AddressTaken
from tests.demo.device import Device, HandClock


def test_discovery_names_every_endpoint_under_the_issuer(provider: Provider, device: Device) -> None:
    assert device.metadata["issuer"] == provider.issuer
    assert device.metadata["id_token_signing_alg_values_supported"] == ["ES256"]
    for name in ("token", "device_authorization", "revocation", "userinfo"):
        assert device.metadata[f"{name}_endpoint"].startswith(f"{provider.issuer}/")


def test_the_published_keys_are_public(device: Device) -> None:
    (key,) = device.http.get(device.metadata["jwks_uri"]).json()["keys"]
    assert (key["kty"], key["alg"], "d" in key) == ("EC", "ES256", False)


def test_a_person_who_approves_gives_the_device_tokens(provider: Provider, device: Device, clock: HandClock) -> None:
    address = device.start()
    assert device.started["interval"] == 1
    assert device.poll()["error"] == "authorization_pending"
    assert approve(address, "ana", "ana") == "You are logged in"
    tokens = device.poll()
    access, identity = device.read(tokens["access_token"]), device.read(tokens["id_token"])
    now = int(clock.now.timestamp())
    assert access.header["typ"] == "at+jwt"
    assert access.claims.pop("jti")
    assert access.claims == {
        "iss": provider.issuer,
        "sub": "ana",
        "aud": "airtunnel-gateway",
        "client_id": "airtunnel",
        "iat": now,
        "exp": now + 900,
        "scope": "openid email groups offline_access",
        "name": "ana",
        "email": "ana@example.com",
        "email_verified": True,
        "groups": ["data-eng"],
    }
    assert identity.header["typ"] == "JWT"
    assert (identity.claims["aud"], identity.claims["email"], identity.claims["groups"]) == (
        "airtunnel",
        "ana@example.com",
        ["data-eng"],
    )
    assert device.userinfo(tokens["access_token"]).json()["email"] == "ana@example.com"


def test_a_device_code_buys_tokens_once(device: Device) -> None:
    approve(device.start(), "ana", "ana")
    assert "access_token" in device.poll()
    assert device.poll()["error"] == "invalid_grant"


def test_of_many_polls_at_once_one_gets_tokens(device: Device) -> None:
    approve(device.start(), "ana", "ana")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: device.poll(), range(8)))
    assert sum("access_token" in reply for reply in replies) == 1


def test_polling_too_fast_is_slowed_down_for_good(device: Device, clock: HandClock) -> None:
    device.start()
    assert device.poll()["error"] == "authorization_pending"
    assert device.poll()["error"] == "slow_down"
    clock.advance(5.9)
    assert device.poll()["error"] == "slow_down"
    clock.advance(11)
    assert device.poll()["error"] == "authorization_pending"


def test_polling_at_the_interval_is_not_slowed_down(device: Device, clock: HandClock) -> None:
    device.start()
    for _ in range(3):
        assert device.poll()["error"] == "authorization_pending"
        clock.advance(1)


def test_a_denial_reaches_the_device(device: Device) -> None:
    assert approve(device.start(), "ana", "ana", deny=True) == "Denied"
    assert device.poll()["error"] == "access_denied"


def test_a_code_expires_for_the_device(device: Device, clock: HandClock) -> None:
    device.start()
    clock.advance(600)
    assert device.poll()["error"] == "expired_token"


def test_an_approval_that_came_in_time_expires_with_its_code(device: Device, clock: HandClock) -> None:
    approve(device.start(), "ana", "ana")
    clock.advance(600)
    assert device.poll()["error"] == "expired_token"


def test_another_client_is_refused(provider: Provider) -> None:
    with closing(Device(provider, client_id="somebody")) as stranger:
        reply = stranger.post("device_authorization_endpoint", scope="openid")
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_client")


def test_an_unknown_scope_is_refused(device: Device) -> None:
    assert device.post("device_authorization_endpoint", scope="openid admin").json()["error"] == "invalid_scope"


def test_an_invented_device_code_is_refused(device: Device) -> None:
    device.started = {"device_code": "invented"}
    assert device.poll()["error"] == "invalid_grant"


def test_without_offline_access_there_is_no_refresh_token(device: Device) -> None:
    approve(device.start("openid email"), "ana", "ana")
    assert "refresh_token" not in device.poll()


def test_the_scopes_decide_what_an_id_token_says(device: Device) -> None:
    approve(device.start("openid"), "ana", "ana")
    claims = device.read(device.poll()["id_token"]).claims
    assert not {"email", "groups"} & set(claims)


def test_a_refresh_gives_new_tokens_and_a_new_refresh_token(device: Device, clock: HandClock) -> None:
    approve(device.start(), "fin", "fin")
    first = device.poll()
    clock.advance(1000)
    second = device.refresh(first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert device.read(second["access_token"]).claims["exp"] == int(clock.now.timestamp()) + 900
    assert device.read(second["id_token"]).claims["groups"] == ["finance", "data-eng"]


def test_a_refresh_token_used_twice_ends_the_whole_login(device: Device) -> None:
    approve(device.start(), "ana", "ana")
    first = device.poll()
    second = device.refresh(first["refresh_token"])
    assert device.refresh(first["refresh_token"])["error"] == "invalid_grant"
    assert device.refresh(second["refresh_token"])["error"] == "invalid_grant"
    assert device.userinfo(second["access_token"]).status_code == 401


def test_of_many_refreshes_at_once_at_most_one_succeeds(device: Device) -> None:
    approve(device.start(), "ana", "ana")
    token = device.poll()["refresh_token"]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: device.refresh(token), range(8)))
    assert sum("access_token" in reply for reply in replies) == 1
    assert {reply["error"] for reply in replies if "error" in reply} == {"invalid_grant"}


def test_a_refresh_token_ends_after_a_working_day(device: Device, clock: HandClock) -> None:
    approve(device.start(), "ana", "ana")
    token = device.poll()["refresh_token"]
    clock.advance(10 * 3600)
    assert device.refresh(token)["error"] == "invalid_grant"


def test_a_refresh_cannot_ask_for_more_scopes(device: Device) -> None:
    approve(device.start("openid offline_access"), "ana", "ana")
    assert device.refresh(device.poll()["refresh_token"], scope="openid groups")["error"] == "invalid_scope"


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
def test_revoking_any_token_ends_the_login(device: Device, which: str) -> None:
    approve(device.start(), "ana", "ana")
    tokens = device.poll()
    assert device.post("revocation_endpoint", token=tokens[which]).status_code == 200
    assert device.refresh(tokens["refresh_token"])["error"] == "invalid_grant"
    assert device.userinfo(tokens["access_token"]).status_code == 401


def test_revoking_an_unknown_token_is_no_error(device: Device) -> None:
    assert device.post("revocation_endpoint", token="unknown").status_code == 200


def test_userinfo_takes_no_id_token_no_old_token_and_no_other(device: Device, clock: HandClock) -> None:
    approve(device.start(), "ana", "ana")
    tokens = device.poll()
    assert device.userinfo(tokens["id_token"]).status_code == 401
    assert device.userinfo("a.b.c").status_code == 401
    assert device.userinfo("x").headers["WWW-Authenticate"].startswith("Bearer")
    clock.advance(900)
    assert device.userinfo(tokens["access_token"]).status_code == 401


def test_two_providers_do_not_take_each_others_tokens(device: Device) -> None:
    approve(device.start(), "ana", "ana")
    token = device.poll()["access_token"]
    with Provider(PEOPLE, client_id="airtunnel", audience="airtunnel-gateway") as other, closing(Device(other)) as stranger:
        assert stranger.userinfo(token).status_code == 401


def test_a_foreign_host_name_reaches_nothing(provider: Provider) -> None:
    reply = httpx2.get(f"{provider.issuer}/device", headers={"Host": "evil.example.com"}, trust_env=False)
    assert reply.status_code == 400


def test_a_taken_port_is_an_error_of_ours(provider: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    port = int(provider.issuer.rpartition(":")[2])
    with pytest.raises(AddressTaken, match="in use"):
        Provider(PEOPLE, port=port, client_id="airtunnel", audience="airtunnel-gateway")
    assert capsys.readouterr().err == ""


def test_after_stop_no_thread_and_no_port_is_left() -> None:
    before = set(threading.enumerate())
    provider = Provider(PEOPLE, client_id="airtunnel", audience="airtunnel-gateway")
    provider.start()
    address = ("127.0.0.1", int(provider.issuer.rpartition(":")[2]))
    with socket.create_connection(address) as idle, httpx2.Client(trust_env=False) as http:
        http.get(f"{provider.issuer}/jwks")
        provider.stop()
        assert idle.recv(1) == b""
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_a_provider_that_never_started_can_be_stopped() -> None:
    Provider(PEOPLE, client_id="airtunnel", audience="airtunnel-gateway").stop()


def test_nothing_is_printed_and_no_secret_is_logged(
    device: Device, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    approve(device.start(), "ana", "ana")
    first = device.poll()
    second = device.refresh(first["refresh_token"])
    device.refresh(first["refresh_token"])
    secrets = [
        device.started["device_code"],
        *(one[name] for one in (first, second) for name in one if name.endswith("_token")),
    ]
    assert len(secrets) == 7
    written = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "used twice" in written
    assert not [secret for secret in secrets if secret in written]
    assert device.started["user_code"] not in written
    assert capsys.readouterr() == ("", "")
