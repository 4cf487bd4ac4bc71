"""Certificates: what stands in one, and what is none of ours."""

import base64
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import ConfigError, ProtocolError
from airtunnel.gateway.authority import (
    CLOCK_SKEW,
    COMMAND,
    PARTS,
    Authority,
    create_keys,
    decode_grant,
    encode_grant,
    left_over,
    load_authority,
    read_grant,
)
from airtunnel.gateway.rotation import rotate
from airtunnel.model import Principal, PrincipalKind, Tags
from tests.gateway.grants import ANA, a_grant, opened, private_key, public_line

CROWDED = replace(ANA, groups=tuple(f"{number:08x}-1111-4222-8333-{number * 7919:012x}" for number in range(200)))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    create_keys(tmp_path)
    return load_authority(AuthorityFiles(tmp_path))


async def test_a_certificate_holds_the_session_as_its_only_principal_and_the_grant(authority: Authority) -> None:
    grant, key = a_grant(), asyncssh.generate_private_key("ssh-ed25519")
    line = await authority.sign_grant(grant, public_line(key))
    certificate = opened(line)
    assert certificate.principals == [grant.session]
    assert read_grant(certificate.options["force-command"], grant.session) == grant
    assert not {"permit-pty", "permit-agent-forwarding", "permit-X11-forwarding", "permit-user-rc"} & set(certificate.options)
    assert certificate._valid_before == int(grant.valid_before.timestamp())
    assert certificate._valid_after == int((grant.issued_at - CLOCK_SKEW).timestamp())
    assert certificate.signing_key == authority.user_ca.signer.public


@pytest.mark.parametrize(
    "grant",
    [
        a_grant(),
        a_grant(principal=CROWDED),
        a_grant(targets=tuple(f"target-{number}" for number in range(32))),
        a_grant(tags=Tags("dag", "task", "run", 0, -1, "why — because", "T-1")),
        a_grant(principal=Principal(PrincipalKind.WORKLOAD, "i", "s", "worker", (), {"a": {"b": [1, None, "é"]}})),
    ],
    ids=["plain", "200 groups", "32 targets", "all tags", "workload"],
)
def test_a_grant_comes_out_of_its_word_as_it_went_in(grant: object) -> None:
    word = encode_grant(grant)  # type: ignore[arg-type]  # parametrize knows no types
    assert decode_grant(word) == grant
    assert word.replace("-", "").replace("_", "").replace("=", "").isalnum(), "one word: force-command is split at blanks"


async def test_two_hundred_groups_fit_into_a_certificate(authority: Authority) -> None:
    line = await authority.sign_grant(a_grant(principal=CROWDED), public_line(asyncssh.generate_private_key("ssh-ed25519")))
    assert read_grant(opened(line).options["force-command"], a_session(line)).principal == CROWDED


def a_session(line: str) -> str:
    (session,) = opened(line).principals
    return str(session)


def test_a_grant_too_large_for_a_certificate_is_refused_and_names_whose_it_is() -> None:
    # Random text, so that it cannot be deflated away.
    heap = tuple(base64.b85encode(number.to_bytes(3, "big") * 7).decode() + str(hash(number * 7919)) for number in range(4000))
    with pytest.raises(ProtocolError, match=r"grant of ana@example\.com is too large"):
        encode_grant(a_grant(principal=replace(ANA, groups=heap)))


def _word(body: object) -> str:
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(body).encode())).decode()


@pytest.mark.parametrize(
    "word",
    ["", "!", "AAAA", _word([]), _word({}), _word({"v": 2}), _word({"v": 1}), _word({"v": 1, "principal": 3})],
)
def test_what_is_no_grant_is_a_protocol_error(word: str) -> None:
    with pytest.raises(ProtocolError):
        decode_grant(word)


@pytest.mark.parametrize("command", [None, True, "", COMMAND, "sh -c id", f"x{COMMAND} abc"])
def test_a_certificate_without_a_grant_is_refused(command: object) -> None:
    with pytest.raises(ProtocolError, match="carries no grant"):
        read_grant(command, "session")


def test_a_grant_is_good_for_its_own_session_only() -> None:
    with pytest.raises(ProtocolError, match="another session"):
        read_grant(f"{COMMAND} {encode_grant(a_grant())}", a_grant().session)


@pytest.mark.parametrize("line", ["", "ssh-ed25519 AAAA", "nonsense", "ssh-ed25519"])
async def test_what_is_no_public_key_is_not_signed(authority: Authority, line: str) -> None:
    with pytest.raises(ProtocolError, match="public_key"):
        await authority.sign_grant(a_grant(), line)


async def test_a_weak_key_is_not_signed(authority: Authority) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    with pytest.raises(ProtocolError, match="ssh-ed25519 is needed"):
        await authority.sign_grant(a_grant(), public_line(rsa))


async def test_a_host_certificate_is_for_the_gateways_names_alone(authority: Authority) -> None:
    now = datetime.now(UTC)
    certificate = opened(await authority.certify_host(("gateway.example.com",), now))
    certificate.validate(asyncssh.public_key.CERT_TYPE_HOST, "gateway.example.com")
    with pytest.raises(ValueError, match="principal"):
        certificate.validate(asyncssh.public_key.CERT_TYPE_HOST, "other.example.com")
    with pytest.raises(ValueError, match="expired"):
        opened(await authority.certify_host(("g",), now - timedelta(days=400))).validate(
            asyncssh.public_key.CERT_TYPE_HOST, "g"
        )


def test_keys_are_made_private_and_stay_as_they_are(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    create_keys(directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert all((directory / name).stat().st_mode & 0o777 == 0o600 for name in ("user_ca", "host_ca", "host_key"))
    create_keys(directory)
    assert before == {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("name", ["user_ca", "host_ca", "host_key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, name: str, mode: int) -> None:
    create_keys(tmp_path)
    (tmp_path / name).chmod(mode)
    with pytest.raises(ConfigError, match=f"{name}: others may read") as caught:
        load_authority(AuthorityFiles(tmp_path))
    assert caught.value.hint == f"chmod 600 {tmp_path / name}"


def test_a_missing_and_a_broken_key_are_named(tmp_path: Path) -> None:
    create_keys(tmp_path)
    (tmp_path / "host_ca").write_text("rubbish")
    with pytest.raises(ConfigError, match=r"host_ca: this is not a usable private key"):
        load_authority(AuthorityFiles(tmp_path))
    (tmp_path / "user_ca").unlink()
    with pytest.raises(ConfigError, match=r"user_ca: there is no such key") as caught:
        load_authority(AuthorityFiles(tmp_path))
    assert caught.value.hint == "airtunnel gateway init"


def test_the_authority_shows_public_parts_only(authority: Authority) -> None:
    shown = repr(authority) + str(authority.user_ca) + "".join((*authority.user_cas, *authority.host_cas))
    assert "PRIVATE" not in shown
    assert private_key(authority.user_ca).export_private_key().decode() not in shown
    assert authority.user_cas[0].startswith("ssh-ed25519 ")
    assert "airtunnel" not in shown.split("ssh-ed25519", 1)[1], "comments stay here"


def test_one_key_for_users_and_hosts_is_refused_in_every_role(tmp_path: Path) -> None:
    create_keys(tmp_path)
    own = (tmp_path / "user_ca").read_bytes(), (tmp_path / "user_ca.pub").read_bytes()
    for private, public in (("user_ca", "user_ca.pub"), ("user_ca.next", "user_ca.next.pub"), (None, "user_ca.old.pub")):
        if private is not None:
            write(tmp_path / private, (tmp_path / "host_ca").read_bytes())
        (tmp_path / public).write_bytes((tmp_path / "host_ca.pub").read_bytes())
        with pytest.raises(ConfigError, match="the CA of users and that of hosts share a key"):
            load_authority(AuthorityFiles(tmp_path))
        for name in (private, public):
            if name is not None:
                (tmp_path / name).unlink()
        write(tmp_path / "user_ca", own[0])
        (tmp_path / "user_ca.pub").write_bytes(own[1])
    load_authority(AuthorityFiles(tmp_path))


@pytest.mark.parametrize("name", ["user_ca", "host_ca"])
def test_a_host_key_that_is_a_ca_is_refused(tmp_path: Path, name: str) -> None:
    create_keys(tmp_path)
    write(tmp_path / "host_key", (tmp_path / name).read_bytes())
    with pytest.raises(ConfigError, match="host_key: the host key is a CA's key, too"):
        load_authority(AuthorityFiles(tmp_path))


def test_keys_in_each_others_place_are_refused(tmp_path: Path) -> None:
    create_keys(tmp_path)
    user, host = ((tmp_path / name).read_bytes() for name in ("user_ca", "host_ca"))
    write(tmp_path / "user_ca", host)
    write(tmp_path / "host_ca", user)
    with pytest.raises(ConfigError, match=r"user_ca\.pub: this is not the public half of"):
        load_authority(AuthorityFiles(tmp_path))


def test_a_key_that_someone_else_holds_is_not_made_anew(tmp_path: Path) -> None:
    create_keys(tmp_path)
    public = (tmp_path / "user_ca.pub").read_bytes()
    (tmp_path / "user_ca").unlink()
    create_keys(tmp_path)
    assert not (tmp_path / "user_ca").exists()
    assert (tmp_path / "user_ca.pub").read_bytes() == public


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
async def test_a_ca_of_either_kind_signs_users_and_hosts(tmp_path: Path, kind: str) -> None:
    for name in ("user_ca", "host_ca"):
        write(tmp_path / name, asyncssh.generate_private_key(kind).export_private_key())
    write(tmp_path / "host_key", asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    authority = load_authority(AuthorityFiles(tmp_path))
    line = await authority.sign_grant(a_grant(), public_line(asyncssh.generate_private_key("ssh-ed25519")))
    assert opened(line).signing_key.get_algorithm() == kind
    host = opened(await authority.certify_host(("g",), datetime.now(UTC)))
    assert host.signing_key.get_algorithm() == kind
    host.validate(asyncssh.public_key.CERT_TYPE_HOST, "g")


def write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def test_each_part_is_loaded_apart_and_no_key_gets_two_roles_by_that(tmp_path: Path) -> None:
    for name in ("one", "other"):
        create_keys(tmp_path / name)
    before, after = (load_authority(AuthorityFiles(tmp_path / name)) for name in ("one", "other"))
    loaded = [load(before, AuthorityFiles(tmp_path / "other")) for load in PARTS]
    assert [one.user_cas for one in loaded] == [after.user_cas, before.user_cas, before.user_cas]
    assert [one.host_cas for one in loaded] == [before.host_cas, after.host_cas, before.host_cas]
    assert [one.host_key for one in loaded] == [before.host_key, before.host_key, after.host_key]
    for load, name in zip(PARTS, ("host_ca", "user_ca", "user_ca"), strict=True):
        taken = tmp_path / "other" / ("user_ca", "host_ca", "host_key")[PARTS.index(load)]
        write(taken, (tmp_path / "one" / name).read_bytes())
        taken.with_suffix(".pub").unlink()
        with pytest.raises(ConfigError, match=r"share a key|is a CA's key, too"):
            load(before, AuthorityFiles(tmp_path / "other"))


def test_what_is_left_over_has_no_key_that_is_in_no_file_of_its_own_ca(tmp_path: Path) -> None:
    create_keys(tmp_path)
    files = AuthorityFiles(tmp_path)
    rotate(files.user_ca, None)
    before = load_authority(files)
    (tmp_path / "host_ca").write_text("rubbish")
    assert left_over(before, files) == before
    for name in ("user_ca.next", "user_ca.next.pub"):
        (tmp_path / name).rename(tmp_path / name.replace("user", "host"))
    left = left_over(before, files)
    assert (left.user_cas, left.host_cas) == (before.user_cas[:1], before.host_cas)
