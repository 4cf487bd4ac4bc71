"""AWS STS in its own words: the Query protocol over HTTP, requests that must be signed (Signature Version 4)."""

import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.identity.server import Asked, Reply

from .tokens import ACCOUNT, made

KEY_ID, SECRET, SESSION = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "session-token-of-the-role"
TOKEN = """<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetWebIdentityTokenResult>
    <WebIdentityToken>{token}</WebIdentityToken><Expiration>2026-11-22T12:05:00Z</Expiration>
  </GetWebIdentityTokenResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</GetWebIdentityTokenResponse>"""
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
  <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
</ErrorResponse>"""


@dataclass
class Sts:
    """`forms`: what was asked for, in requests with a valid signature. `reply`: what comes instead of a token."""

    reply: Reply | None = None
    issuer: str = ACCOUNT
    forms: list[dict[str, list[str]]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        if not is_signed(asked):
            return refusal("SignatureDoesNotMatch", 403)
        form = parse_qs(asked.body.decode())
        self.forms.append(form)
        if self.reply is not None:
            return self.reply
        if form["Action"] != ["GetWebIdentityToken"] or form["Version"] != ["2011-06-15"]:
            return refusal("InvalidAction", 400)
        return Reply(200, TOKEN.format(token=made(self.issuer, form["Audience.member.1"][0])).encode(), XML)


XML = {"Content-Type": "text/xml"}


def refusal(code: str, status: int, message: str = "no") -> Reply:
    return Reply(status, ERROR.format(code=code, message=message).encode(), XML)


def is_signed(asked: Asked) -> bool:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html"""
    kind, _, rest = asked.headers.get("authorization", "").partition(" ")
    if kind != "AWS4-HMAC-SHA256":
        return False
    said = dict(one.strip().split("=", 1) for one in rest.split(","))
    key_id, day, region, service, end = said["Credential"].split("/")
    names = said["SignedHeaders"].split(";")
    headers = "".join(f"{name}:{asked.headers[name].strip()}\n" for name in names)
    path, _, query = asked.path.partition("?")
    digest = hashlib.sha256(asked.body).hexdigest()
    canonical = "\n".join((asked.method, path, query, headers, ";".join(names), digest))
    scope = f"{day}/{region}/{service}/{end}"
    text = "\n".join((kind, asked.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, service, end, text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return (key_id, service, said["Signature"]) == (KEY_ID, "sts", key.hex()) and "x-amz-security-token" in names
