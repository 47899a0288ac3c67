"""Users within Ceph: they may do what their spec says as long as their CephClient is there, and no longer."""

import base64

import pytest

from e2e import environment as env
from e2e.api import load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

IN_TOOLBOX = "/etc/ceph/ceph.client.images.keyring"
pytestmark = pytest.mark.meanwhile


def test_a_user_has_its_rights_until_its_client_goes(environment: Environment) -> None:
    (manifest,) = load(env.EXAMPLES / "client.yaml")
    name = manifest["metadata"]["name"]
    environment.api.apply(manifest)
    env.wait_for_phase(environment, "CephClient", name)
    secret = environment.api.get("Secret", f"rook-ceph-client-{name}", env.NAMESPACE)
    key = base64.b64decode(secret["data"]["userKey"]).decode()
    keyring = f"[client.{name}]\nkey = {key}\n"
    env.in_toolbox(environment, "sh", "-c", f'printf %s "$0" > {IN_TOOLBOX}', keyring)
    asked = ("rbd", "--id", name, "--keyring", IN_TOOLBOX, "ls", "--pool", env.POOL)
    env.in_toolbox(environment, *asked)
    with pytest.raises(RuntimeError, match=r"EACCES|denied|EPERM"):
        env.in_toolbox(environment, "ceph", "--id", name, "--keyring", IN_TOOLBOX, "osd", "set", "noout")

    environment.api.delete("CephClient", name, env.NAMESPACE)
    env.gone(environment, "CephClient", name, env.NAMESPACE)
    with pytest.raises(RuntimeError, match=r"denied|EACCES|EPERM|error connecting|couldn't connect"):
        env.in_toolbox(environment, *asked)

    def look() -> None:
        if environment.api.find("Secret", f"rook-ceph-client-{name}", env.NAMESPACE) is not None:
            raise NotYetError("it is still there")

    eventually("the Secret to go with its CephClient", look, deadline=60)
