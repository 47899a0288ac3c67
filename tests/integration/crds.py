"""The generated CustomResourceDefinitions on a real API server."""

from pathlib import Path

import anyio
import yaml

from controller.apis.meta import Kind
from controller.apis.registry import KINDS
from e2e.apiserver import ApiServer
from informers import ApiError, Client, Resource

ROOT = Path(__file__).parents[2]
CRD = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
NAMESPACE = "default"
APPLY = "application/apply-patch+yaml"


def resource(kind: Kind) -> Resource:
    return Resource(kind.group, kind.version, kind.kind, kind.plural, namespaced=kind.namespaced)


async def install(server: ApiServer) -> None:
    """Installs all that there are, and returns when each is served."""
    async with Client.connect(kubeconfig=str(server.kubeconfig)) as client:
        for path in sorted((ROOT / "manifests/crds").glob("*.yaml")):
            definition = yaml.safe_load(path.read_text(encoding="utf-8"))
            name = definition["metadata"]["name"]
            params = {"fieldManager": "test", "fieldValidation": "Strict"}
            await client.patch(CRD, "", name, definition, content_type=APPLY, params=params)
        with anyio.fail_after(60):
            for kind in KINDS:
                await _wait_served(client, kind)


async def _wait_served(client: Client, kind: Kind) -> None:
    found = resource(kind)
    while True:
        try:
            await client.request("GET", found.path(NAMESPACE if found.namespaced else ""))
        except ApiError as error:
            if not error.is_not_found:
                raise
            await anyio.sleep(0.05)
        else:
            return
