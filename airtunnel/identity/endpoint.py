"""Which URLs may be talked to or shown: https anywhere, plain http on this machine only."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from airtunnel.errors import ProtocolError, UsageError

# RFC 3986 section 2. Anything else (a backslash, a blank, a control character) is read differently by different browsers.
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def secure_url(url: str, what: str, *, loopback: bool = True) -> SplitResult:
    """The parts of an absolute URL that is https, or (with `loopback`) http on this machine. `what` names it in the error.

    Raises ProtocolError for everything else: other schemes, no host, user names, characters that no URL holds.
    """
    parts = _split(url)
    if parts is None or not parts.hostname or parts.username is not None or parts.password is not None:
        raise ProtocolError(f"{what} is not a URL that can be used: {url[:200]!a}")
    if parts.scheme == "https" or (loopback and parts.scheme == "http" and is_loopback(parts.hostname)):
        return parts
    raise ProtocolError(f"{what} is not https: {url[:200]!a}")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether a text is the name or address of a host, and nothing that a shell or a file could take for more."""
    try:
        ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text) is not None
    return True


def same_site(host: str, site: str) -> bool:
    """Whether `host` is `site` or below it."""
    return host == site or host.endswith(f".{site}")


def gateway_name(gateway: str) -> str:
    """The one spelling of a gateway: `host` or `host:port`, in lower case, without https:// and without the usual port.

    Raises UsageError if that is not what was typed.
    """
    typed = gateway.strip()
    hint = "airtunnel login gateway.example.com"
    if typed.lower().startswith("http://"):
        raise UsageError(f"a gateway speaks https, not http: {typed[:200]!a}", hint=hint)
    parts = _split(typed if "://" in typed else f"https://{typed}")
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise UsageError(f"not the name of a gateway: {typed[:200]!a}", hint=hint)
    if not is_host(parts.hostname):
        raise UsageError(f"not the name of a gateway: {typed[:200]!a}", hint=hint)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"a gateway is a host or host:port, without a path: {typed[:200]!a}", hint=hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if parts.port in (None, 443) else f"{host}:{parts.port}"


def _split(url: str) -> SplitResult | None:
    if not _PLAIN.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # read here, because a port that is no number is only found when it is read
    except ValueError:
        return None
    return parts
