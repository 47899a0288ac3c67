"""How the API server is reached, and as whom: what rotates while a process runs, plugins, proxies.

The server says itself whom it sees, by a SelfSubjectReview.
"""

import asyncio
import json
import re
import sys
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from controller.runtime.kube import CONFIG_MAP
from e2e.apiserver import ADMIN, ADMIN_TOKEN, USER_TOKEN, ApiServer
from e2e.certificates import make_certificates, make_client_certificate
from informers import Client, ConfigurationError, InformerFactory, JsonObject, TransportError
from informers.configuration import kubeconfig
from informers.http import HttpTransport
from informers.watcher import Backoff
from tests.clock import Clock
from tests.integration.proxy import Proxy

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
SOURCE = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}


@asynccontextmanager
async def connected(config: Path, clock: Clock | None = None) -> AsyncIterator[Client]:
    async with Client(HttpTransport(kubeconfig(str(config)), user_agent="tests", clock=clock or Clock())) as client:
        yield client


async def whoami(client: Client) -> str:
    """Whom the server sees."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = json.loads(await client.request("POST", REVIEW, body=body))
    name: str = answer["status"]["userInfo"]["username"]
    return name


async def test_a_token_file_that_is_replaced(apiserver: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(ADMIN_TOKEN)
    config = apiserver.write_kubeconfig(tmp_path / "config", user={"tokenFile": str(token)})
    clock = Clock()
    async with connected(config, clock) as client:
        assert await whoami(client) == ADMIN
        token.write_text(USER_TOKEN)
        assert await whoami(client) == ADMIN
        clock.now += 60
        assert await whoami(client) == "user"


async def test_a_client_certificate_that_is_replaced(apiserver: ApiServer, tmp_path: Path) -> None:
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).write_bytes((apiserver.directory / name).read_bytes())
    make_client_certificate(tmp_path, "client", "/CN=before")
    user = {"client-certificate": str(tmp_path / "client.crt"), "client-key": str(tmp_path / "client.key")}
    config = apiserver.write_kubeconfig(tmp_path / "config", user=user)
    clock = Clock()
    async with connected(config, clock) as client:
        assert await whoami(client) == "before"
        make_client_certificate(tmp_path, "client", "/CN=after")
        clock.now += 60
        assert await whoami(client) == "after", "on a new connection, since the old one shows the old certificate"


async def created(client: Client, name: str) -> JsonObject:
    """Creates a ConfigMap as soon as the server can be reached."""
    with anyio.fail_after(60):
        while True:
            try:
                return await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": name}})
            except TransportError:
                await asyncio.sleep(0.1)


@pytest.mark.timeout(180)
async def test_a_server_that_comes_back_with_a_certificate_of_another_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an informer follows, it follows on, without a restart and without waiting for the next reading."""
    monkeypatch.setattr(Backoff, "CAP", 1.0)
    with_old = tmp_path / "server"
    with_old.mkdir()
    server = ApiServer(with_old)
    await asyncio.to_thread(server.__enter__)
    try:
        clock = Clock()  # it stands still: nothing is read again but for what goes wrong
        async with connected(server.kubeconfig, clock) as client, anyio.create_task_group() as tasks:
            factory = InformerFactory(client, namespaces=("default",))
            informer = factory.informer(CONFIG_MAP, dict)
            tasks.start_soon(factory.run)
            await informer.wait_synced()
            await asyncio.to_thread(server.kill)
            make_certificates(with_old)
            await asyncio.to_thread(server.start)
            made = await created(client, "a")
            await informer.reached(int(made["metadata"]["resourceVersion"]), 60)
            assert informer.trouble == ""
            assert clock.now == 1000.0
            tasks.cancel_scope.cancel()
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


def plugin(path: Path, *statuses: JsonObject, complaint: str = "") -> dict[str, Any]:
    """The user's section for a credential plugin that tells one status after the other, the last for ever."""
    answers = [json.dumps(SOURCE | {"status": status}) for status in statuses]
    path.write_text(
        f"import sys\nfrom pathlib import Path\n"
        f"if {complaint!r}:\n    sys.exit({complaint!r})\n"
        f"count = Path({str(path)!r} + '.count')\nrun = int(count.read_text()) if count.exists() else 0\n"
        f"count.write_text(str(run + 1))\nanswers = {answers!r}\nprint(answers[min(run, len(answers) - 1)])\n"
    )
    return {"exec": {"apiVersion": SOURCE["apiVersion"], "command": sys.executable, "args": [str(path)]}}


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # kubernetes-asyncio's own
async def test_a_plugin_s_token_is_renewed_when_it_has_expired(apiserver: ApiServer, tmp_path: Path) -> None:
    first = {"token": ADMIN_TOKEN, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    second = {"token": USER_TOKEN, "expirationTimestamp": "2126-01-01T00:00:00Z"}
    user = plugin(tmp_path / "plugin.py", first, second, {"token": "never asked for"})
    clock = Clock()
    async with connected(apiserver.write_kubeconfig(tmp_path / "config", user=user), clock) as client:
        assert await whoami(client) == ADMIN
        for _ in range(2):
            clock.now += 60
            assert await whoami(client) == "user"


async def test_a_plugin_s_client_certificate_is_shown_and_renewed_when_it_is_refused(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    def certificate(directory: Path, subject: str) -> JsonObject:
        make_client_certificate(directory, "client", subject)
        return {
            "clientCertificateData": (directory / "client.crt").read_text(),
            "clientKeyData": (directory / "client.key").read_text(),
        }

    strange = tmp_path / "strange"
    strange.mkdir()
    make_certificates(strange)
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).write_bytes((apiserver.directory / name).read_bytes())
    user = plugin(tmp_path / "plugin.py", certificate(strange, "/CN=a"), certificate(tmp_path, "/CN=by-plugin"))
    async with connected(apiserver.write_kubeconfig(tmp_path / "config", user=user)) as client:
        assert await whoami(client) == "by-plugin"
    assert (tmp_path / "plugin.py.count").read_text() == "2"


async def test_what_a_plugin_complains_of_is_told(apiserver: ApiServer, tmp_path: Path) -> None:
    user = plugin(tmp_path / "plugin.py", complaint="log in first: https://login.example.org")
    config = apiserver.write_kubeconfig(tmp_path / "config", user=user)
    with pytest.raises(ConfigurationError, match=r"kubeconfig .*config.* returned 1.*log in first: https://login"):
        async with connected(config):
            pass


LOGIN = b64encode(b"rook:proxy-password").decode()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One without proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def far(config: Path, **cluster: str) -> Path:
    """The configuration of a server that cannot be reached but by a proxy."""
    found = json.loads(config.read_text())
    found["clusters"][0]["cluster"] |= {
        "server": "https://api.example.org:6443",
        "tls-server-name": "localhost",
        **cluster,
    }
    config.write_text(json.dumps(found))
    return config


@pytest.mark.parametrize("by", ["environment", "kubeconfig"])
async def test_requests_and_watches_through_a_proxy(
    apiserver: ApiServer, namespace: str, tmp_path: Path, environment: pytest.MonkeyPatch, by: str
) -> None:
    async with Proxy(apiserver.port, tunnel=True, login=LOGIN).serve() as proxy:
        url = f"http://rook:proxy-password@127.0.0.1:{proxy.port}"
        config = apiserver.write_kubeconfig(tmp_path / "config")
        if by == "environment":
            environment.setenv("HTTPS_PROXY", url)
            environment.setenv("NO_PROXY", "10.0.0.0/8,.internal")
            far(config)
        else:
            far(config, **{"proxy-url": url})
        async with connected(config) as client, anyio.create_task_group() as tasks:
            factory = InformerFactory(client, namespaces=(namespace,))
            informer = factory.informer(CONFIG_MAP, dict)
            tasks.start_soon(factory.run)
            made = await client.create(CONFIG_MAP, {"metadata": {"namespace": namespace, "name": "a"}})
            await informer.wait_synced()
            await informer.reached(int(made["metadata"]["resourceVersion"]), 60)
            tasks.cancel_scope.cancel()
        assert set(proxy.asked_for) == {"api.example.org:6443"}


@pytest.mark.parametrize(
    ("reachable", "said"), [(True, "the proxy answered 407"), (False, "cannot connect to 127.0.0.1:1: ")]
)
async def test_a_proxy_that_does_not_serve_is_told_and_its_password_is_not(
    apiserver: ApiServer, tmp_path: Path, environment: pytest.MonkeyPatch, reachable: bool, said: str
) -> None:
    async with Proxy(apiserver.port, tunnel=True, login="another").serve() as proxy:
        url = f"http://rook:proxy-password@127.0.0.1:{proxy.port if reachable else 1}"
        config = far(apiserver.write_kubeconfig(tmp_path / "config"), **{"proxy-url": url})
        async with connected(config) as client:
            with pytest.raises(TransportError, match=re.escape(said)) as caught:
                await whoami(client)
    shown = "".join(traceback.format_exception(caught.value))
    assert "proxy-password" not in shown
    assert LOGIN not in shown


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.0/8"])
async def test_this_machine_and_what_no_proxy_names_are_reached_directly(
    apiserver: ApiServer, tmp_path: Path, environment: pytest.MonkeyPatch, no_proxy: str
) -> None:
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # nothing listens there
    environment.setenv("NO_PROXY", no_proxy)
    async with connected(apiserver.write_kubeconfig(tmp_path / "config")) as client:
        assert await whoami(client) == ADMIN
