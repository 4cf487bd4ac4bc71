"""URLs and names of hosts, as they stand in a configuration."""

import ipaddress
import re
from urllib.parse import urlsplit

from airtunnel.config.document import Node, fault
from airtunnel.config.table import text

HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def url_text(node: Node) -> str:
    """A URL to the letter: https without a fragment; http on loopback."""
    url = text(node)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise fault(node, f"`{node.key}` is not a URL") from error
    if not host or parts.username is not None or "#" in url or " " in url:
        raise fault(node, f"`{node.key}` is not a URL like https://login.example.com")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise fault(node, f"`{node.key}` must be https: whoever can change an answer of it could be anybody")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
