"""Tokens that must be refused, each with words of the reason that the audit gets: for tests and for measurements."""

import base64
import hmac
import json
from collections.abc import Callable

from joserfc import jwk, jws

from tests.identity.forge import EC, RSA, SECOND, Attempt, Claims, claims_of, raw, signed
from tests.identity.provider import AUDIENCE, CLIENT, Provider, new_key

Make = Callable[[Provider], Attempt]
KEYS = [RSA, EC]
"""What the issuer of these tokens publishes."""
ID = {"token": "id_token", "audiences": (CLIENT,)}
STRANGER = new_key("stranger")


def claimed(**changed: object) -> Make:
    """Signed by the issuer, with these claims."""
    return lambda issuer: Attempt(signed(issuer, **changed))


def headed(header: Claims, key: jwk.Key = RSA) -> Make:
    """With these headers, signed with a key."""
    return lambda issuer: Attempt(signed(issuer, header, key))


def unsigned(header: object, **changed: object) -> Make:
    """With this header, and signed by nobody."""
    return lambda issuer: Attempt(raw(header, claims_of(issuer, **changed)))


def plain(token: str) -> Make:
    """Just that."""
    return lambda issuer: Attempt(token)


def as_id(**changed: object) -> Make:
    """Shown to a gateway that takes ID tokens."""
    return lambda issuer: Attempt(signed(issuer, {"typ": "JWT"}, **{"client_id": None, **changed}), settings=ID)


def given_to(claim: str, client: str | None) -> Make:
    """Given to a client, as one claim says, and shown to a gateway that knows its clients."""
    known = {"client_ids": (CLIENT,)}
    return lambda issuer: Attempt(signed(issuer, **{"client_id": None, claim: client}), settings=known)


def shared_secret(secret: bytes) -> Make:
    """Signed with the public key as if it were a shared secret."""

    def make(issuer: Provider) -> Attempt:
        head = raw({"alg": "HS256", "kid": "rsa"}, claims_of(issuer)).rpartition(".")[0]
        mac = base64.urlsafe_b64encode(hmac.digest(secret, head.encode(), "sha256")).rstrip(b"=").decode()
        return Attempt(f"{head}.{mac}")

    return make


def cut(kept: int) -> Make:
    """Without the end of its signature."""
    return lambda issuer: Attempt(signed(issuer)[:kept])


def with_payload_of_another(issuer: Provider) -> Attempt:
    """With the signature of one token under the claims of another."""
    header, _, signature = signed(issuer).split(".")
    payload = raw({}, claims_of(issuer, sub="admin")).split(".")[1]
    return Attempt(f"{header}.{payload}.{signature}")


def beyond_numbers(issuer: Provider) -> Attempt:
    """With an expiry that no number holds."""
    text = json.dumps(claims_of(issuer)).replace(str(SECOND + 3600), "1e400").encode()
    return Attempt(jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, text, RSA))


NOT_LISTED = ("none", "None", "NONE", None, "", 7, ["RS256"], "HS256", "HS512", "RS1", "ES256K", "dir")
UNKNOWN = ("unknown", "../../../../etc/passwd", "rsa' or 1=1", "", "RSA", "rsa\x00")
INSIDE: dict[str, object] = {
    "jwk": STRANGER.as_dict(private=False),
    "jku": "https://evil.example/jwks",
    "x5u": "https://evil.example/jwks",
    "x5c": ["AAAA"],
}

JWTS: dict[str, tuple[Make, str]] = {
    **{f"algorithm {one}": (unsigned({"alg": one, "kid": "rsa"}), "algorithm is not accepted") for one in NOT_LISTED},
    "no signature": (lambda issuer: Attempt(raw({"alg": "RS256"}, claims_of(issuer), b"")), "three parts"),
    "no signature, none": (lambda issuer: Attempt(raw({"alg": "none"}, claims_of(issuer), b"")), "three parts"),
    "public key as a secret, PEM": (shared_secret(RSA.as_pem(private=False)), "algorithm is not accepted"),
    "public key as a secret, JWK": (
        shared_secret(json.dumps(RSA.as_dict(private=False)).encode()),
        "algorithm is not accepted",
    ),
    "another key with a known id": (headed({"kid": "ec"}, STRANGER), "signature is not valid"),
    **{f"key id {one!a}": (headed({"kid": one}), "unknown key") for one in UNKNOWN},
    "key id 7": (unsigned({"alg": "RS256", "kid": 7}), "key id is not a text"),
    **{f"a key inside, {one}": (headed({"kid": "ec", one: INSIDE[one]}, STRANGER), "signature is not valid") for one in INSIDE},
    **{f"an own key inside, {one}": (headed({"kid": "own", one: INSIDE[one]}, STRANGER), "unknown key") for one in INSIDE},
    "RSA key for ES256": (unsigned({"alg": "ES256", "kid": "rsa"}), "unknown key"),
    "P-256 key for ES384": (unsigned({"alg": "ES384", "kid": "ec"}), "signature is not valid"),
    **{f"signature cut by {-kept}": (cut(kept), "signature is not valid") for kept in (-1, -8, -100)},
    "payload of another": (with_payload_of_another, "signature is not valid"),
    "no exp": (claimed(exp=None), "exp"),
    "exp is a text": (claimed(exp=str(SECOND + 3600)), "exp"),
    "exp is true": (claimed(exp=True), "exp"),
    "expired": (claimed(exp=SECOND - 30), "expired"),
    "exp 0": (claimed(exp=0), "expired"),
    "exp of no calendar": (claimed(exp=10**30), "no calendar"),
    "exp of no number": (beyond_numbers, "exp"),
    "exp is a list": (claimed(exp=[SECOND + 3600]), "exp"),
    "not yet": (claimed(nbf=SECOND + 31), "not yet valid"),
    "nbf is a text": (claimed(nbf="x"), "nbf"),
    "no iat": (claimed(iat=None), "iat"),
    "issued in the future": (claimed(iat=SECOND + 31), "iat|future"),
    "iat is a text": (claimed(iat="x"), "iat"),
    "issued long ago": (claimed(iat=SECOND - 86_431), "issued too long ago"),
    "iat of no calendar": (claimed(iat=-(10**30)), "no calendar"),
    "no aud": (claimed(aud=None), "aud"),
    **{
        f"aud {one}": (claimed(aud=one), "aud")
        for one in ("other", "", [], ["other"], [AUDIENCE, 7], {AUDIENCE: 1}, "AIRTUNNEL")
    },
    "no sub": (claimed(sub=None), "sub"),
    **{f"sub {one}": (claimed(sub=one), "sub") for one in ("", 7, ["00u1"])},
    "jti 7": (claimed(jti=7), "jti"),
    "a line in sub": (claimed(sub="a\nb"), "claim sub holds control"),
    "NUL in sub": (claimed(sub="a\x00b"), "claim sub holds control"),
    "a turn in email": (claimed(email="a\u202eb"), "claim email holds control"),
    "long email": (claimed(email="a" * 257), "claim email is longer"),
    "no email": (claimed(email=None), "claim email is missing"),
    "email not verified": (claimed(email_verified=False), "not verified"),
    "groups of numbers": (claimed(groups=[7]), "claim groups is not"),
    "Keycloak's ID token": (claimed(typ="ID"), "not an access_token"),
    "Keycloak's refresh token": (claimed(typ="Refresh"), "not an access_token"),
    **{f"issuer {one}": (claimed(iss=one), "issuer is not trusted") for one in ("https://evil.example", "", None, 7, ["a"])},
    "issuer with a slash": (lambda issuer: Attempt(signed(issuer, iss=f"{issuer.issuer}/")), "issuer is not trusted"),
    "issuer below": (lambda issuer: Attempt(signed(issuer, iss=f"{issuer.issuer}/x")), "issuer is not trusted"),
    "PS256 where it is not used": (
        lambda issuer: Attempt(signed(issuer, {"alg": "PS256"}), settings={"algorithms": ("RS256",)}),
        "algorithm is not accepted",
    ),
    "crit": (unsigned({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1}), "critical"),
    "crit, empty": (unsigned({"alg": "RS256", "kid": "rsa", "crit": []}), "critical"),
    "b64": (unsigned({"alg": "RS256", "kid": "rsa", "b64": True}), "critical"),
    "b64 false": (unsigned({"alg": "RS256", "kid": "rsa", "b64": False, "crit": ["b64"]}), "critical"),
    "nothing": (plain(""), "three parts"),
    "five parts": (plain("a.b.c.d.e"), "three parts"),
    "words": (plain("Bearer x"), "three parts"),
    "1 MB": (plain("a" * 1_000_000), "larger than"),
    "not ASCII": (plain("ä.b.c"), "not ASCII"),
    "a list of claims": (plain(raw({"alg": "RS256"}, ["iss"])), "not a JSON object"),
    "two issuers": (plain(raw({"alg": "RS256"}, b'{"iss":"a","iss":"b"}')), "duplicate"),
    "two algorithms": (plain(raw(b'{"alg":"none","alg":"RS256"}', {})), "duplicate"),
    "NaN": (plain(raw({"alg": "RS256"}, b'{"exp":NaN}')), "not JSON"),
    "deep": (plain(raw({"alg": "RS256"}, b"[" * 9000)), "cannot be read"),
    **{
        f"type {one}": (unsigned({"alg": "RS256", "kid": "rsa", "typ": one}), "typ is not that of")
        for one in ("logout+jwt", "dpop+jwt", "secevent+jwt", "x", 7, ["JWT"])
    },
    "access token as ID token": (
        lambda issuer: Attempt(signed(issuer, aud=CLIENT), settings=ID),
        "typ is not that of an id_token",
    ),
    "Keycloak's access token as ID token": (as_id(aud=CLIENT, typ="Bearer"), "not an id_token"),
    "ID token of two clients": (as_id(aud=[CLIENT, "other"]), "another client"),
    "ID token of another client": (as_id(aud=[CLIENT, "other"], azp="other"), "another client"),
    "ID token by another client": (as_id(aud=CLIENT, azp="other"), "another client"),
    **{
        f"given to another client, {one}": (given_to(one, "other"), "another client")
        for one in ("azp", "client_id", "cid", "appid")
    },
    "given to nobody": (given_to("client_id", None), "another client"),
    "without what is required": (
        lambda issuer: Attempt(signed(issuer, hd="evil.example"), settings={"required": {"hd": ("example.com",)}}),
        "claim hd does not have",
    ),
}
