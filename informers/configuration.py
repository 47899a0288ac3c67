"""The address of the API server and the credentials for it, read by kubernetes-asyncio's loaders.

The packages of kubernetes-asyncio import every generated API and model, which costs 37 MB of memory and 0.4 s and is
not needed here. So this module imports only the loaders. During that import two bare packages stand in for
`kubernetes_asyncio` and `kubernetes_asyncio.client`. They are removed afterwards, so an import of the whole library
elsewhere works as usual, with the same classes. The loaders write their results into the `Configuration` of this
module, because that of the library imports urllib3.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Directory in which the kubelet puts a pod's token and the cluster's CA."""

DEFAULT_KUBECONFIG: Final = Path("~/.kube/config")

_LIBRARY: Final = "kubernetes_asyncio"


class ConfigurationError(Exception):
    """The configuration cannot be found or read. The message names the file and the problem."""


@dataclass(slots=True)
class Configuration:
    """The results of the loaders, under the names that they use.

    Attributes:
        host: Base URL of the server.
        api_key: "BearerToken": the value of the Authorization header.
        ssl_ca_cert: PEM file of the CAs to trust; None: those of the system.
        cert_file: PEM file of a client certificate.
        key_file: PEM file of its key.
        verify_ssl: False trusts any server.
        tls_server_name: Name to expect in the server's certificate, if it differs from the host's.
        proxy: URL of a proxy.
    """

    host: str = "http://localhost"
    api_key: dict[str, str] = field(default_factory=dict, repr=False)
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl: bool = True
    tls_server_name: str | None = None
    proxy: str | None = None


@contextmanager
def _bare_packages() -> Iterator[ModuleType]:
    """Allows imports of the library's submodules without its packages' own code. Yields the `client` package."""
    spec = importlib.util.find_spec(_LIBRARY)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{_LIBRARY} is not installed")
    root = Path(spec.submodule_search_locations[0])
    library, client = ModuleType(_LIBRARY), ModuleType(f"{_LIBRARY}.client")
    library.__path__, client.__path__ = [str(root)], [str(root / "client")]
    sys.modules |= {_LIBRARY: library, f"{_LIBRARY}.client": client}
    try:
        yield client
    finally:
        del sys.modules[_LIBRARY], sys.modules[f"{_LIBRARY}.client"]


def _load_library() -> tuple[Any, Any]:
    if _LIBRARY in sys.modules:  # the whole library is imported already
        return tuple(map(importlib.import_module, _LOADERS))  # type: ignore[return-value]
    with _bare_packages() as client:
        client.Configuration, client.ApiClient = Configuration, None  # type: ignore[attr-defined]  # in annotations
        return tuple(map(importlib.import_module, _LOADERS))  # type: ignore[return-value]


_LOADERS: Final = (f"{_LIBRARY}.config.incluster_config", f"{_LIBRARY}.config.kube_config")
_in_cluster, _kube_config = _load_library()

_MALFORMED: Final = (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""Errors that the loader raises for malformed files, beside its own exception."""


type Source = Callable[[bool], Awaitable[Configuration]]
"""Reads the configuration again. True: the server has refused the credentials, so kept ones must not be returned."""


def in_cluster(directory: Path = SERVICE_ACCOUNT) -> Source:
    """The service account of the pod that this process runs in.

    Args:
        directory: Holds the files `token` and `ca.crt`, which the kubelet renews.
    """

    async def read(refused: bool) -> Configuration:  # both files are read again in any case
        configuration = Configuration()
        try:
            _in_cluster.load_incluster_config(
                configuration,
                try_refresh_token=False,
                token_filename=str(directory / "token"),
                cert_filename=str(directory / "ca.crt"),
            )
        except (_in_cluster.ConfigException, OSError) as error:
            raise ConfigurationError(f"service account in {directory}: {error}") from error
        return configuration

    return read


def kubeconfig(path: str, context: str | None = None) -> Source:
    """A kubeconfig file: client certificates, tokens, token files, exec plugins, OIDC, user and password.

    Args:
        path: The file, or several separated by colons, as in `$KUBECONFIG`.
        context: The name of a context in it; None: the current context.
    """
    loader: Any = None
    configuration = Configuration()

    async def read(refused: bool) -> Configuration:
        nonlocal loader, configuration
        if not _exists(path):
            raise ConfigurationError(f"kubeconfig {path}: there is no such file")
        if loader is not None and _has_exec_plugin(loader):
            # Credentials of a plugin that have no expiry are valid until the server refuses them (client-go credential
            # plugins). Where they have one, the loader runs the plugin again shortly before.
            if not refused and not hasattr(loader, "exec_plugin_expiry"):
                return configuration
            if refused:
                loader.__dict__.pop("exec_plugin_expiry", None)
        else:
            loader = None
        fresh = Configuration()
        try:
            if loader is None:
                loader = await _kube_config.load_kube_config(path, context, fresh)
            else:
                await loader.load_and_set(fresh)
        except (_kube_config.ConfigException, *_MALFORMED) as error:
            raise ConfigurationError(f"kubeconfig {path}, context {context or 'current'}: {error}") from error
        configuration = fresh
        return configuration

    return read


def discover(path: str | None = None, context: str | None = None) -> Source:
    """The first configuration that exists, in client-go's order.

    The order is: the given file, `$KUBECONFIG`, the pod's service account, `~/.kube/config`.

    Raises:
        ConfigurationError: None of them exists.
    """
    given = path or os.environ.get("KUBECONFIG")
    if given:
        return kubeconfig(given, context)
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster()
    default = DEFAULT_KUBECONFIG.expanduser()
    if not default.is_file():
        raise ConfigurationError(
            f"no Kubernetes configuration: no kubeconfig was given, KUBECONFIG is not set, this is no pod, "
            f"and {default} does not exist"
        )
    return kubeconfig(str(default), context)


def _exists(paths: str) -> bool:
    return any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path)


def _has_exec_plugin(loader: Any) -> bool:
    user = loader._user  # noqa: SLF001  # the loader's own refresh_token() decides by it, and nothing public tells
    return user is not None and "exec" in user
