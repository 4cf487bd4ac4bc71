"""PostgreSQL's protocol 3.0, as far as a login goes: after it, bytes are only carried.

    client                      airtunnel                               target
    SSLRequest          ----->
                       <-----   'N'
    StartupMessage      ----->  read_startup
                       <----->  check_password   SCRAM-SHA-256, the session's own password
                                ... policy, lease, dial; any failure here: error_response ...
                                request_tls              ----->  SSLRequest
                                                        <-----   'S', TLS
                                rewrite_startup, log_in  <---->  StartupMessage, SCRAM-SHA-256, the lease's password
                                                        <-----   AuthenticationOk, ..., BackendKeyData, ReadyForQuery
                       <-----   replace_key      the same, with a cancel key of ours
    Query, ...          ----------------------------------------->   carried, not parsed

AuthenticationOk is what tells a client that all went well: until the target has said ReadyForQuery the client has none, so that
every failure on the way still reaches it as a proper error.
"""

from airtunnel.wire.postgres.login import LoggedIn, end_point, log_in, replace_key, request_tls
from airtunnel.wire.postgres.messages import (
    TERMINATE,
    Unsupported,
    WrongPassword,
    at_boundary,
    error_response,
    parse_error,
)
from airtunnel.wire.postgres.rewrite import rewrite_startup
from airtunnel.wire.postgres.scram import Verifier, check_password, format_verifier, make_verifier
from airtunnel.wire.postgres.startup import CancelRequest, Startup, encode_cancel, encode_startup, read_startup

__all__ = [
    "TERMINATE",
    "CancelRequest",
    "LoggedIn",
    "Startup",
    "Unsupported",
    "Verifier",
    "WrongPassword",
    "at_boundary",
    "check_password",
    "encode_cancel",
    "encode_startup",
    "end_point",
    "error_response",
    "format_verifier",
    "log_in",
    "make_verifier",
    "parse_error",
    "read_startup",
    "replace_key",
    "request_tls",
    "rewrite_startup",
]
