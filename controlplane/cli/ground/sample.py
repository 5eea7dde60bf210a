"""The sample app server, beside a running control plane and in the same process."""

import asyncio
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from controlplane import assets
from controlplane.cli import serving
from controlplane.cli.ground.checks import Checks
from controlplane.cli.ground.run import Running, served
from controlplane.cli.output import print_table

_PACKAGE = "controlplane_sample_app_server"
_PATH = "/documents"
# The first of each has the other's name.
_FILED = {"acme": ["contract.pdf", "offer.pdf"], "globex": ["contract.pdf"]}


async def show_documents(up: Running, found: Checks) -> None:
    """File documents for two tenants and list each one's, over HTTP."""
    rows = []
    async with _app_server(up) as port, _client(port) as client:
        made = {who: await _file(client, up, who, names) for who, names in _FILED.items()}
        for who, ours in made.items():
            host = f"{who}.{up.settings.base_domain}"
            got = await client.get(_PATH, headers={"Host": host})
            listed = got.json() if got.is_success else []
            names = ", ".join(sorted(document["name"] for document in listed))
            rows.append((f"GET http://{host}:{port}{_PATH}", str(got.status_code), names))
            ids = {document["id"] for document in listed}
            found.equal(f"{who}'s documents are its own", ids, ours)
    print_table(("REQUEST", "STATUS", "DOCUMENTS"), rows)


async def _file(client: httpx2.AsyncClient, up: Running, who: str, names: list[str]) -> set[str]:
    """The ids of the new documents; what is refused has none, and is missed in the list."""
    ids = set()
    for name in names:
        answer = await client.post(
            _PATH,
            json={"name": name, "mime_type": "application/pdf", "size_bytes": 1},
            headers={"Host": f"{who}.{up.settings.base_domain}"},
        )
        ids.add(str(answer.json().get("id")))
    return ids


@contextlib.asynccontextmanager
async def _app_server(up: Running) -> AsyncIterator[int]:
    """The port that it answers at, with the app servers' login."""
    with contextlib.closing(serving.listening("127.0.0.1", 0)) as bound:
        app = _create_app(up.urls.app, up.settings.base_domain)
        async with served(app, bound, asyncio.Event()):
            yield bound.getsockname()[1]


def _client(port: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)


def _create_app(database_url: str, base_domain: str) -> Any:
    """The application as it stands in examples/: no part of the product, so it is loaded by path."""
    folder = assets.folder("examples") / "app_server"
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None, "BUG: a path to a .py file has a spec"  # noqa: S101
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{_PACKAGE}.litestar_app").create_app(database_url, base_domain)
