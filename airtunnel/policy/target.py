"""The language of targets: from an entry of `targets` to what can be reached.

Each table is a Form, which is what reads it and what the published schema says of it.
"""

from collections.abc import Iterator

from airtunnel.config.document import Node, Scalar, fault
from airtunnel.config.table import Table, address, path, prose, raw, text
from airtunnel.config.values import cut
from airtunnel.errors import ConfigError
from airtunnel.model import CredentialSpec, Protocol, Target
from airtunnel.policy import kinds
from airtunnel.policy.form import Entry, Faults, Form, Key, Kind


def _full(node: Node) -> str:
    if (verify := raw(node)) != "full":
        raise fault(node, f"`verify` is full, not `{cut(verify)}`: an unverified server could be anybody")
    return verify


_PATH = Kind(path, kinds.ONE_LINE)
VERIFY = Key("verify", Kind(_full, {"const": "full"}), "How the server's certificate is checked: there is only one way.")
CA = Key(
    "ca", _PATH, "PEM file with the CA of the server's certificate, from this file's directory; the system's CAs otherwise."
)
SERVER = Key("name", kinds.TEXT, "The name that the server's certificate must have, if it is not the host of `address`.")
TLS_TABLE = Form((VERIFY, CA, SERVER))
CONNECTION = Key("connection", kinds.TEXT, "The conn_id under which DAGs know this target.", needed=True)
AIRFLOW_TABLE = Form((CONNECTION,))


def _tls(node: Node) -> tuple[bool, str | None, str | None]:
    if isinstance(node, Scalar):
        if raw(node) != "off":
            raise fault(node, "`tls` is off, or a table of verify, ca and name")
        return False, None, None
    entry = TLS_TABLE.read(node)
    ca = entry.get(CA, None)
    return True, None if ca is None else str(ca), entry.get(SERVER, None)


def _credential(node: Node) -> CredentialSpec:
    """A source and its options. An option named `path` or `*_file` is a path, taken from the file's directory."""
    table, faults, source = Table(node), Faults(), ""
    with faults:
        source = table.need("source", kinds.name)
    options = {}
    for key, value in table.entries():
        with faults:
            options[key.text] = str(path(value)) if _is_path(key.text) else text(value)
    faults.done("credential has faults")
    return CredentialSpec(source, options, node.place)


def _is_path(option: str) -> bool:
    return option == "path" or option.endswith("_file")


_ADDRESS = r"unix:.+|[A-Za-z0-9_][A-Za-z0-9._-]{0,252}:[0-9]{1,5}|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]:[0-9]{1,5}"
_CREDENTIAL = {
    "type": "object",
    "properties": {"source": {"description": "Where the login comes from.", **kinds.SOURCE_NAME.schema}},
    "required": ["source"],
    "additionalProperties": kinds.ONE_LINE,
}

ADDRESS = Key(
    "address",
    Kind(address, {"type": "string", "pattern": kinds.whole(_ADDRESS), "examples": ["db.internal:5432", "unix:run/db.sock"]}),
    "Where the gateway dials: `host:port`, `[::1]:5432` or `unix:/path`. Clients never learn it.",
    needed=True,
)
PROTOCOL = Key("protocol", kinds.word_of(Protocol), "What is spoken there. `tcp` is only carried.", needed=True)
TLS = Key(
    "tls",
    Kind(_tls, {"anyOf": [{"enum": ["off", False]}, TLS_TABLE.schema]}),
    "TLS from the gateway to the target: on and verified unless this is `off`.",
)
DATABASE = Key("database", kinds.TEXT, "The database's name.")
DESCRIPTION = Key(
    "description", Kind(prose, {"type": ["string", "number", "boolean"]}), "What people read in `airtunnel targets`."
)
LABELS = Key(
    "labels", kinds.LABELS, "Words that rules can select by. `env` is the environment: a gateway of another does not know it."
)
CREDENTIAL = Key("credential", Kind(_credential, _CREDENTIAL), "The login that the gateway borrows for each session.")
AIRFLOW = Key(
    "airflow",
    Kind(lambda node: AIRFLOW_TABLE.read(node).need(CONNECTION), AIRFLOW_TABLE.schema),
    "How Airflow knows this target.",
)


def _target_checks(entry: Entry) -> Iterator[ConfigError]:
    where, protocol = entry.get(ADDRESS, None), entry.get(PROTOCOL, None)
    if where is not None and where.path and entry.get(TLS, (False,))[0]:
        yield entry.fault(TLS, "a unix socket has no TLS; leave `tls` out")
    if protocol is Protocol.TCP and CREDENTIAL in entry:
        yield entry.fault(CREDENTIAL, "the gateway can log in for a client only where it knows the protocol, not in tcp")


TARGET = Form(
    (PROTOCOL, ADDRESS, DATABASE, DESCRIPTION, LABELS, TLS, CREDENTIAL, AIRFLOW),
    _target_checks,
    {
        "allOf": [
            {
                "if": {"properties": {"protocol": {"const": "tcp"}}, "required": ["protocol"]},
                "then": {"properties": {"credential": False}},
            },
            {
                "if": {"properties": {"address": {"pattern": "^unix:"}}, "required": ["address"]},
                "then": {"properties": {"tls": {"enum": ["off", False]}}},
            },
        ]
    },
)


def read_target(key: Scalar, node: Node) -> Target:
    """The target under `key`, which is its name. Raises ConfigError, or an ExceptionGroup of several."""
    faults, name = Faults(), ""
    with faults:
        name = kinds.name(key)
    entry = Entry(Table(node).node, {})
    with faults:
        entry = TARGET.read(node)
    faults.done(f"{key.place}: {cut(key.text)}")
    where = entry.need(ADDRESS)
    tls, ca, server = entry.get(TLS, (not where.path, None, None))
    return Target(
        name=name,
        protocol=entry.need(PROTOCOL),
        address=where,
        place=key.place,
        database=entry.get(DATABASE, None),
        description=entry.get(DESCRIPTION, ""),
        labels=entry.get(LABELS, {}),
        credential=entry.get(CREDENTIAL, None),
        airflow_connection=entry.get(AIRFLOW, None),
        tls=tls,
        tls_ca=ca,
        tls_name=server,
    )
