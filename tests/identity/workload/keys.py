"""Keys of clients, in the forms in which people keep them."""

import json
import warnings
from pathlib import Path

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from joserfc.jwk import JWKRegistry, Key, RSAKey

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey
)


def pem(key: PrivateKey, password: bytes | None = None, form: forms.PrivateFormat = forms.PrivateFormat.PKCS8) -> str:
    locked = forms.BestAvailableEncryption(password) if password else forms.NoEncryption()
    return key.private_bytes(forms.Encoding.PEM, form, locked).decode()


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: Key, *, private: bool = True, **more: str) -> str:
    return json.dumps(key.as_dict(private=private) | more)


def weak_jwk() -> str:
    """An RSA key of 1024 bits."""
    with warnings.catch_warnings(action="ignore"):
        return jwk(RSAKey.import_key(pem(rsa.generate_private_key(65537, 1024))))


def public(text: str, kind: str) -> Key:
    """The public half of what was written, as a provider has it registered."""
    key = JWKRegistry.import_key(json.loads(text)) if text.startswith("{") else JWKRegistry.import_key(text, kind)
    return JWKRegistry.import_key(dict(key.as_dict(private=False)))


def keep(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
    return path
