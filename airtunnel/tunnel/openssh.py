"""A grant as files for a stock `ssh`: key, certificate, the gateway's CA, and the configuration that names them.

ssh_config(5): a `Host` block; sshd(8), SSH_KNOWN_HOSTS: the `@cert-authority` marker. No trust on first use.
"""

import os
from pathlib import Path

from airtunnel.errors import ConfigError
from airtunnel.tunnel.control import Granted
from airtunnel.wire.control import Published

CONFIG = """\
Host {name}
  HostName {host}
  Port {port}
  User {user}
  IdentityFile {key}
  CertificateFile {certificate}
  IdentitiesOnly yes
  UserKnownHostsFile {hosts}
  StrictHostKeyChecking yes
  ExitOnForwardFailure yes
  ServerAliveInterval 15
"""


def write_files(directory: Path, published: Published, granted: Granted, *, name: str = "airtunnel") -> Path:
    """Write `key`, `key-cert.pub`, `known_hosts` and `config` into `directory` (0700, files 0600), and return `config`.

    name: what stands behind `Host`, to be typed as `ssh -F config name`
    Raises ConfigError if others may enter the directory, or it cannot be written.
    """
    key, certificate = directory / "key", directory / "key-cert.pub"
    hosts, config = directory / "known_hosts", directory / "config"
    where = f"[{published.ssh_host}]:{published.ssh_port}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            raise ConfigError(f"{directory}: others may enter this directory", hint=f"chmod 700 {directory}")
        _write(key, granted.key.export_private_key("openssh"))
        _write(certificate, f"{granted.reply.certificate}\n".encode())
        _write(hosts, "".join(f"@cert-authority {where} {line}\n" for line in published.host_cas).encode())
        paths = {name: _quote(path) for name, path in (("key", key), ("certificate", certificate), ("hosts", hosts))}
        values = {"name": name, "host": published.ssh_host, "port": published.ssh_port, "user": granted.reply.session}
        _write(config, CONFIG.format(**values, **paths).encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {(error.strerror or str(error)).lower()}") from error
    return config


def _write(path: Path, data: bytes) -> None:
    """A new file of mode 0600 from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _quote(path: Path) -> str:
    """A path as ssh_config takes it: in double quotes, with `%` doubled."""
    return '"' + str(path.absolute()).replace("%", "%%") + '"'
