"""What a request shows of who asks, and where it was sent to: the Authorization and DPoP headers (RFC 6750, RFC 9449).

A proof names the address that its maker dialled. It must be one of the gateway's own: the public one, or a name in its TLS
certificate, which is what the client checked. What the request says of its host is never looked at.
"""

import ipaddress
from pathlib import Path

import asyncssh
from cryptography import x509
from starlette.requests import Request

from airtunnel.config.gateway import GatewayConfig
from airtunnel.errors import ConfigError, LoginRequired, ProtocolError, TokenRejected
from airtunnel.identity.verify.proven import PROOF_ALGORITHMS, Shown

SCHEMES = {"bearer": "Bearer", "dpop": f'DPoP algs="{" ".join(PROOF_ALGORITHMS)}"'}


class Names:
    """The hosts and the port by which clients know this gateway. Raises ConfigError if its certificate cannot be read."""

    def __init__(self, config: GatewayConfig) -> None:
        public = config.public.https
        self._port = public.port
        self._hosts = frozenset((_host(public.host), *_certified(config.tls.certificate)))

    def at(self, listening: int) -> frozenset[str]:
        """Each `host:port`, in lower case. listening: the port at which the request arrived, behind whatever forwards it."""
        ports = {self._port or listening, listening}
        return frozenset(f"{host}:{port}" for host in self._hosts for port in ports)


def read_shown(request: Request, names: Names) -> tuple[str, Shown]:
    """The token of a request, and how it came.

    Raises LoginRequired if there is none; TokenRejected if there are two, of which one could be checked and the other used.
    """
    given, proofs = request.headers.getlist("authorization"), request.headers.getlist("dpop")
    scheme = _scheme(request)
    token = given[0].partition(" ")[2] if given else ""
    if scheme not in SCHEMES or not token:
        raise LoginRequired("this needs a login", hint="airtunnel login")
    if len(given) > 1 or len(proofs) > 1:
        raise TokenRejected("there is more than one Authorization or DPoP header")
    # Not request.url: that is made of the Host header, too, in which anything may stand.
    server = request.scope.get("server") or ("", 0)
    proof = proofs[0] if proofs else None
    return token, Shown(scheme, request.method, request.scope["path"], names.at(server[1] or 0), proof)


def challenge(request: Request) -> str:
    """`WWW-Authenticate` for a 401 (RFC 9449 section 7.1): both schemes, or the fault of the one that was tried.

    The fault is always the same: what is wrong with a token, or with its proof, is not for its bearer.
    """
    scheme = SCHEMES.get(_scheme(request))
    if scheme is None:
        return ", ".join(SCHEMES.values())
    return f'{scheme}{"," if " " in scheme else ""} error="invalid_token"'


def fingerprint(public_key: str) -> str:
    """SHA-256 of an SSH public key, as `ssh-keygen -l` writes it. Raises ProtocolError if it is none."""
    try:
        return asyncssh.import_public_key(public_key).get_fingerprint()
    except (asyncssh.KeyImportError, ValueError) as error:
        raise ProtocolError("public_key is not a public key in OpenSSH's format") from error


def _scheme(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[0].lower()


def _certified(certificate: Path) -> list[str]:
    """The names in a certificate that are one host each: a wildcard's could be other gateways, of another operator even."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError) as error:
        raise ConfigError(f"{certificate}: cannot be read as a certificate: {error}") from error
    addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return [_host(one) for one in (*names.get_values_for_type(x509.DNSName), *addresses) if "*" not in one]


def _host(name: str) -> str:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name.lower()
    return f"[{address}]" if address.version == 6 else str(address)
