import pytest

from airtunnel.identity.powerful import is_powerful


@pytest.mark.parametrize(
    "audience",
    [
        "https://graph.microsoft.com",
        "https://Graph.Microsoft.com/.default",
        "00000003-0000-0000-c000-000000000000",
        "https://www.googleapis.com/auth/cloud-platform",
        "sts.amazonaws.com",
        "https://kubernetes.default.svc",
    ],
)
def test_what_well_known_services_take_opens_more_than_a_gateway(audience: str) -> None:
    assert is_powerful(audience)


@pytest.mark.parametrize("audience", ["", "openid", "airtunnel", "api://airtunnel", "https://gateway.example.com", "graph"])
def test_a_name_of_ones_own_opens_a_gateway_only(audience: str) -> None:
    assert not is_powerful(audience)
