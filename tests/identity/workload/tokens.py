"""Tokens as the platforms make them, but for the signature, and gateways that take them."""

import base64
import json
import time
from dataclasses import replace
from typing import Any

from airtunnel.wire.control import Published, WorkloadIssuer
from tests.identity.provider import published_by

AUDIENCE = "https://gateway.example.com"
CLUSTER = "https://oidc.cluster.example.com"
GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
GOOGLE = "https://accounts.google.com"
ACCOUNT = "https://11111111-2222.tokens.sts.global.api.aws"
COMPANY = "https://login.example.com"

ISSUERS = {"kubernetes": CLUSTER, "github": GITHUB, "gitlab": GITLAB, "gcp": GOOGLE, "aws": ACCOUNT}


def made(issuer: object, audience: object = AUDIENCE, **more: Any) -> str:  # Any: JSON
    """A token that expires in ten minutes, whose signature nobody has looked at."""
    claims = {"iss": issuer, "aud": audience, "sub": "somebody", "exp": int(time.time()) + 600} | more
    claims = {name: value for name, value in claims.items() if value is not None}
    return ".".join((part({"alg": "RS256", "kid": "1"}), part(claims), "U0lHTkFUVVJF"))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def gateway(*kinds: str, **more: Any) -> Published:  # Any: fields of Published
    """A gateway that takes these kinds of workloads, for AUDIENCE; its people log in at COMPANY."""
    workloads = tuple(WorkloadIssuer(ISSUERS[kind], kind, AUDIENCE) for kind in kinds)
    return replace(published_by(COMPANY), workloads=workloads, **more)


def entry(kind: str) -> WorkloadIssuer:
    return WorkloadIssuer(ISSUERS[kind], kind, AUDIENCE)
