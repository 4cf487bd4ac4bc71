"""Who else is on this machine: whose process connected to a local port, and which process holds one.

Linux tells both in /proc (proc(5): net/tcp, and the socket inodes in PID/fd). Elsewhere the answer is None: not known.
"""

import ipaddress
import os
import socket
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED, LISTEN = "01", "0A"


def peer_uid(peer: tuple[str, int], local: tuple[str, int]) -> int | None:
    """The user id of the process at the other end of a loopback TCP connection, or None where that cannot be known."""
    # Both tables: a client that speaks IPv6 reaches 127.0.0.1 as ::ffff:127.0.0.1, and stands in tcp6.
    for uid, _, state, theirs, ours in (*_sockets(wide=False), *_sockets(wide=True)):
        if state == ESTABLISHED and theirs == peer and ours == local:
            return uid
    return None


def port_holder(port: int) -> str | None:
    """The process that listens on a local TCP port, as `name (pid 123)`; None where that cannot be known."""
    inodes = {
        inode for wide in (False, True) for _, inode, state, mine, _ in _sockets(wide) if state == LISTEN and mine[1] == port
    }
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in PROC.glob("[0-9]*"):
        try:
            if any(str(descriptor.readlink()) in wanted for descriptor in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # another user's process, or gone meanwhile
    return "a process of another user"


def own_uid() -> int:
    """Our user id, as /proc shows it."""
    return os.getuid()


def _sockets(wide: bool) -> list[tuple[int, str, str, tuple[str, int], tuple[str, int]]]:
    """Rows of /proc/net/tcp (tcp6 if `wide`): uid, inode, state, local address, remote address."""
    try:
        lines = (PROC / "net" / ("tcp6" if wide else "tcp")).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [(int(row[7]), row[9], row[3], _address(row[1]), _address(row[2])) for row in rows]


def _address(text: str) -> tuple[str, int]:
    """`0100007F:1F90` -> ("127.0.0.1", 8080): each 32-bit word in the machine's own byte order, here little-endian."""
    host, port = text.split(":")
    words = bytes.fromhex(host)
    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    address = ipaddress.ip_address(socket.inet_ntop(family, packed))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), int(port, 16)
