from pathlib import Path

import pytest
import yaml

from airtunnel.errors import ConfigError, LoginFailed, LoginRequired
from airtunnel.identity.workload.kubernetes import DEFAULT, PROJECTED, Kubernetes
from airtunnel.identity.workload.present import WorkloadIdentity

from .tokens import AUDIENCE, CLUSTER, gateway, made

PUBLISHED = gateway("github", "kubernetes")


def pod(root: Path, *, projected: str | None = None, default: str | None = None) -> WorkloadIdentity:
    for where, content in ((root / PROJECTED, projected), (root / DEFAULT, default)):
        if content is not None:
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(content)
    return WorkloadIdentity(Kubernetes(root / PROJECTED, root / DEFAULT))


async def test_the_projected_token_is_shown(tmp_path: Path) -> None:
    token = made(CLUSTER, [AUDIENCE])
    identity = pod(tmp_path, projected=token, default=made(CLUSTER, [CLUSTER]))
    assert (await identity.present(PUBLISHED)).token == token


async def test_a_token_that_the_kubelet_replaced_is_read_again(tmp_path: Path) -> None:
    """The kubelet swaps a symbolic link to a directory, so the path stays and the file does not."""
    tokens = [made(CLUSTER, [AUDIENCE], jti=str(number)) for number in range(2)]
    mount = tmp_path / PROJECTED.parent
    mount.mkdir(parents=True)
    for number, token in enumerate(tokens):
        (mount / f"..{number}").mkdir()
        (mount / f"..{number}" / "token").write_text(token)
    (mount / "..data").symlink_to("..0")
    (mount / "token").symlink_to("..data/token")
    identity = pod(tmp_path)
    assert (await identity.present(PUBLISHED)).token == tokens[0]
    (mount / "..new").symlink_to("..1")
    (mount / "..new").rename(mount / "..data")
    assert (await identity.present(PUBLISHED)).token == tokens[1]


async def test_the_token_for_the_api_server_is_not_taken_instead(tmp_path: Path) -> None:
    secret = made(CLUSTER, [CLUSTER])
    with pytest.raises(LoginRequired) as caught:
        await pod(tmp_path, default=secret).present(PUBLISHED)
    assert caught.value.message == "this pod has a token for the Kubernetes API only, which is not for a gateway"
    assert secret not in repr(caught.value.as_json())


async def test_the_advice_is_a_manifest_that_projects_the_right_token(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired) as caught:
        await pod(tmp_path, default="x").present(PUBLISHED)
    spec = yaml.safe_load("\n".join(caught.value.details[1:]))
    (mount,) = spec["containers"][0]["volumeMounts"]
    (volume,) = spec["volumes"]
    (source,) = volume["projected"]["sources"]
    assert mount == {"name": volume["name"], "mountPath": "/var/run/secrets/airtunnel", "readOnly": True}
    assert source == {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": 600, "path": "token"}}


async def test_outside_of_a_pod_that_is_asked(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired) as caught:
        await pod(tmp_path).present(PUBLISHED)
    assert caught.value.details[0] == "is this a pod?"


async def test_a_token_mounted_for_another_audience_is_answered_with_the_manifest(tmp_path: Path) -> None:
    with pytest.raises(LoginFailed) as caught:
        await pod(tmp_path, projected=made(CLUSTER, ["vault"])).present(PUBLISHED)
    assert "for vault, and not for" in caught.value.message
    assert any(f"audience: {AUDIENCE}" in line for line in caught.value.details)


async def test_a_mount_that_is_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / PROJECTED).mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"{tmp_path / PROJECTED}: the pod's token cannot be read"):
        await pod(tmp_path).present(PUBLISHED)


async def test_a_cluster_that_the_gateway_knows_as_any_provider_will_do(tmp_path: Path) -> None:
    published = gateway("github")
    token = made("https://login.example.com", "anything")
    assert (await pod(tmp_path, projected=token).present(published)).token == token
