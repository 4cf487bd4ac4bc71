"""Tokens that are bound to a key, and shown as no gateway may take them; with words of the reasons, as in hostile.py."""

import json
from collections.abc import Callable

from joserfc import jwk

from airtunnel.identity.proof import commitment, digest
from airtunnel.model import KeyBinding
from tests.identity.forge import (
    KEY,
    NONCE,
    OTHER_KEY,
    RSA,
    SALT,
    SECOND,
    Attempt,
    Claims,
    bound,
    claims_of,
    days,
    identity,
    proof,
    raw,
    shown,
    signed,
)
from tests.identity.hostile import ID, STRANGER, Make
from tests.identity.provider import CLIENT, Provider

DPOP = {"binding": KeyBinding.DPOP}
NONCE_BOUND = {**ID, "binding": KeyBinding.NONCE}
SYMMETRIC = jwk.generate_key("oct", 256)
JWK = jwk.ECKey.import_key(json.loads(KEY.dump()))
OTHER = jwk.ECKey.import_key(json.loads(OTHER_KEY.dump()))


def proven(header: Claims | None = None, key: jwk.Key | None = None, /, **changed: object) -> Make:
    """A token that is bound to KEY, with a proof like this."""

    def make(issuer: Provider) -> Attempt:
        token = bound(issuer)
        return Attempt(token, shown(proof(token, header, key, **changed)), DPOP)

    return make


def with_proof(made: Callable[[str], str | None], scheme: str = "dpop", binding: KeyBinding = KeyBinding.NONE) -> Make:
    """A bound token, shown with whatever `made` makes."""

    def make(issuer: Provider) -> Attempt:
        token = bound(issuer)
        return Attempt(token, shown(made(token), scheme), {"binding": binding})

    return make


def confirmed(cnf: object, binding: KeyBinding = KeyBinding.NONE) -> Make:
    """A token that is bound in some way, with a good proof of KEY."""

    def make(issuer: Provider) -> Attempt:
        token = issuer.sign(claims_of(issuer) | ({} if cnf is None else {"cnf": cnf}), key=RSA)
        return Attempt(token, shown(proof(token)), {"binding": binding})

    return make


def renewed(origin: Callable[[Provider], str | None], **changed: object) -> Make:
    """A renewed ID token without a nonce, with the first one of its login in the proof."""

    def make(issuer: Provider) -> Attempt:
        token = identity(issuer, nonce=None)
        return Attempt(token, shown(proof(token, salt=SALT, origin=origin(issuer), **changed)), NONCE_BOUND)

    return make


def committed(nonce: str | None, salt: object = SALT) -> Make:
    """An ID token with this nonce, and a proof with this salt."""

    def make(issuer: Provider) -> Attempt:
        token = identity(issuer, nonce=nonce)
        return Attempt(token, shown(proof(token, salt=salt)), NONCE_BOUND)

    return make


PROOFS: dict[str, tuple[Make, str]] = {
    "bound, as a bearer's": (with_proof(lambda token: None, "bearer"), "shown as a bearer token"),
    "bound, as a bearer's, with a proof": (with_proof(proof, "bearer"), "shown as a bearer token"),
    "bound, shown in no way": (lambda issuer: Attempt(bound(issuer)), "shown as a bearer token"),
    "bound, without a proof": (with_proof(lambda token: None), "without a proof"),
    "bound, without a proof, where it must be": (with_proof(lambda token: None, binding=KeyBinding.DPOP), "without a proof"),
    "another key's proof": (proven(None, OTHER), "another key than the token's"),
    "another key's signature": (
        with_proof(lambda token: proof(token, {"jwk": JWK.as_dict(private=False)}, OTHER)),
        "proof's signature is not valid",
    ),
    "unbound, where it must be": (confirmed(None, KeyBinding.DPOP), "not bound to a key"),
    "unbound, with a proof": (confirmed(None), "was shown with a proof"),
    "unbound, as DPoP": (lambda issuer: Attempt(signed(issuer), shown(None)), "was shown with a proof"),
    "unbound, with a proof as a bearer's": (
        lambda issuer: Attempt(signed(issuer), shown(proof(signed(issuer)), "bearer")),
        "was shown with a proof",
    ),
    "unbound, as a bearer's, where it must be": (
        lambda issuer: Attempt(signed(issuer), shown(None, "bearer"), DPOP),
        "not bound to a key",
    ),
    **{
        f"bound by {name}": (confirmed(cnf), "bound in a way that is not known")
        for name, cnf in {
            "certificate": {"x5t#S256": "x"},
            "key": {"jwk": JWK.as_dict(private=False)},
            "both": {"jkt": KEY.thumbprint, "x5t#S256": "x"},
            "nothing": {},
            "text": "jkt",
            "number": {"jkt": 7},
            "null": {"jkt": None},
            "list": [{"jkt": KEY.thumbprint}],
        }.items()
    },
    "proof: no JWT": (with_proof(lambda token: "x"), "proof is not a signed JWT"),
    "proof: five parts": (with_proof(lambda token: "a.b.c.d.e"), "proof is not a signed JWT"),
    "proof: 1 MB": (with_proof(lambda token: "a" * 1_000_000), "proof is larger than"),
    "proof: the token": (with_proof(lambda token: token), "proof's typ"),
    "proof: type": (proven({"typ": "JWT"}), "proof's typ"),
    "proof: no type": (proven({"typ": None}), "proof's typ"),
    "proof: none": (
        with_proof(lambda token: raw({"typ": "dpop+jwt", "alg": "none", "jwk": JWK.as_dict(private=False)}, {})),
        "proof's algorithm is not accepted",
    ),
    "proof: symmetric": (proven({"alg": "HS256", "jwk": SYMMETRIC.as_dict()}, SYMMETRIC), "proof's algorithm is not accepted"),
    "proof: RSA": (proven({"alg": "RS256"}, RSA), "proof's algorithm is not accepted"),
    "proof: crit": (proven({"crit": ["jwk"]}), "proof has critical"),
    "proof: no key": (proven({"jwk": None}), "holds no public key"),
    "proof: key is a text": (
        with_proof(lambda token: raw({"typ": "dpop+jwt", "alg": "ES256", "jwk": "x"}, {})),
        "holds no public key",
    ),
    "proof: private key": (proven({"jwk": JWK.as_dict(private=True)}), "holds a private key"),
    "proof: symmetric key": (proven({"jwk": SYMMETRIC.as_dict()}), "holds a private key"),
    "proof: key of another kind": (proven({"jwk": RSA.as_dict(private=False)}), "of another kind"),
    "proof: key off the curve": (proven({"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}), "cannot be used"),
    "proof: key by address": (proven({"jwk": None, "jku": "https://evil.example/jwks"}), "holds no public key"),
    "proof: key by id": (proven({"jwk": None, "kid": "ec"}), "holds no public key"),
    "proof: cut": (with_proof(lambda token: proof(token)[:-8]), "proof's signature is not valid"),
    "proof: another method": (proven(htm="GET"), "another method"),
    "proof: method in lower case": (proven(htm="post"), "another method"),
    "proof: no method": (proven(htm=None), "another method"),
    **{
        f"proof: address {one}": (proven(htu=one), "another address")
        for one in (
            None,
            7,
            "",
            "/v1/grants",
            "http://gateway.example.com/v1/grants",
            "http://127.0.0.1:8443/v1/grants",
            "https://evil.example/v1/grants",
            "https://gateway.example.com:8443/v1/grants",
            "https://gateway.example.com/v1/targets",
            "https://gateway.example.com/v1/grants/",
            "https://gateway.example.com/v1/../v1/grants",
            "https://gateway.example.com@evil.example/v1/grants",
            "https://ana:x@gateway.example.com/v1/grants",
            "https://gateway.example.com.evil.example/v1/grants",
            "https://gateway.example.com:443x/v1/grants",
        )
    },
    "proof: old": (proven(iat=SECOND - 61), "proof was made 61 s ago"),
    "proof: early": (proven(iat=SECOND + 6), "proof was made -6 s ago"),
    "proof: no time": (proven(iat=None), "does not say when"),
    "proof: time is a text": (proven(iat=str(SECOND)), "does not say when"),
    "proof: time is true": (proven(iat=True), "does not say when"),
    "proof: time of no calendar": (proven(iat=10**30), "no calendar"),
    "proof: another token": (proven(ath=digest("another")), "another token"),
    "proof: no token": (proven(ath=None), "another token"),
    "proof: token is a number": (proven(ath=7), "ath is not a printable text"),
    "proof: no id": (proven(jti=None), "no id"),
    "proof: empty id": (proven(jti=""), "no id"),
    "proof: long id": (proven(jti="a" * 257), "no id"),
    "proof: id is a number": (proven(jti=7), "jti is not a printable text"),
    "proof: id forges a line": (proven(jti="a\nb"), "jti is not a printable text"),
    "proof: half a character": (proven(ath="\ud800"), "ath is not a printable text"),
    "proof: key of the grant is a list": (proven(ssh_key=["SHA256:a"]), "ssh_key is not a printable text"),
    "nonce: as a bearer's": (lambda issuer: Attempt(identity(issuer), shown(None, "bearer"), NONCE_BOUND), "as a bearer token"),
    "nonce: without a proof": (lambda issuer: Attempt(identity(issuer), shown(None), NONCE_BOUND), "without a proof"),
    "nonce: of another key": (committed(commitment(OTHER_KEY.thumbprint, SALT)), "made with another key"),
    "nonce: of another salt": (committed(NONCE, "other"), "made with another key"),
    "nonce: no salt": (committed(NONCE, None), "made with another key"),
    "nonce: salt is a number": (committed(NONCE, 7), "salt is not a printable text"),
    "nonce: the thumbprint itself": (committed(KEY.thumbprint, ""), "made with another key"),
    "nonce: none, and no origin": (committed(None), "brings no earlier one"),
    "nonce: wrong, and a good origin": (
        lambda issuer: Attempt(
            token := identity(issuer, nonce="x"), shown(proof(token, salt=SALT, origin=identity(issuer))), NONCE_BOUND
        ),
        "made with another key",
    ),
    "nonce: a number": (
        lambda issuer: Attempt(token := identity(issuer, nonce=7), shown(proof(token, salt=SALT)), NONCE_BOUND),
        "made with another key",
    ),
    "origin: no JWT": (renewed(lambda issuer: "x"), "origin is not a signed JWT"),
    "origin: unsigned": (renewed(lambda issuer: raw({"alg": "none"}, {"iss": issuer.issuer})), "origin's algorithm"),
    "origin: cut": (renewed(lambda issuer: identity(issuer)[:-8]), "origin's signature is not valid"),
    "origin: of another issuer": (renewed(lambda issuer: identity(issuer, iss="https://evil.example")), "origin's issuer"),
    "origin: of somebody else": (renewed(lambda issuer: identity(issuer, sub="00u2")), "origin is of another login"),
    "origin: for another client": (renewed(lambda issuer: identity(issuer, aud="other")), "origin's claims do not hold"),
    "origin: given to another client": (renewed(lambda issuer: identity(issuer, azp="other")), "another client"),
    "origin: an access token": (renewed(lambda issuer: signed(issuer, aud=CLIENT, nonce=NONCE)), "origin's typ"),
    "origin: without a nonce": (renewed(lambda issuer: identity(issuer, nonce=None)), "made with another key"),
    "origin: 31 days old": (renewed(lambda issuer: identity(issuer, iat=days(31), exp=days(31))), "origin was issued too long"),
    "origin: of the future": (renewed(lambda issuer: identity(issuer, iat=SECOND + 60)), "origin's claims do not hold"),
    "origin: of no time": (renewed(lambda issuer: identity(issuer, iat=None)), "origin's claims do not hold"),
    "origin: with the key inside": (
        renewed(lambda issuer: issuer.sign(claims_of(issuer, aud=CLIENT), {"typ": "JWT", "kid": "x"}, STRANGER)),
        "origin is signed with an unknown key|unknown key",
    ),
}
