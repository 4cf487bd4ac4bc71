"""Tokens that open more than a gateway, told by their audience: neither a person's nor a machine's goes to a gateway. Pure."""

from airtunnel.identity.endpoint import same_site

# Audiences of services that give much for a token. A gateway that asks for one of them was set up by mistake, or is not honest.
_POWERFUL = frozenset(
    {
        "sts.amazonaws.com",
        "sts.amazonaws.com.cn",
        "pods.eks.amazonaws.com",
        "azureadtokenexchange",
        "azureadtokenexchangeusgov",
        "azureadtokenexchangechina",
        "graph.microsoft.com",
        "login.microsoftonline.com",
        "00000003-0000-0000-c000-000000000000",  # Microsoft Graph
        "management.azure.com",
        "management.core.windows.net",
        "sts.windows.net",
        "vault.azure.net",
        "github.com",  # https://github.com/OWNER is the audience that GitHub takes where none is asked for
        "sigstore",
        "pypi",
        "testpypi",
        "crates.io",
        "rubygems.org",
        "npm:registry.npmjs.org",
    }
)


def is_powerful(audience: str) -> bool:
    """Whether some well-known service takes tokens with this audience."""
    rest = audience.partition("://")[2] or audience.removeprefix("//")
    host = rest.partition("/")[0].lower()
    return host in _POWERFUL or same_site(host, "googleapis.com") or host.startswith("kubernetes.default")
