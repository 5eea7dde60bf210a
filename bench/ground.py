"""A control plane to be measured: a durable PostgreSQL of its own, the API and workers as processes."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import httpx2

from controlplane import embedded, settings
from controlplane.cli import serving
from controlplane.cli.ground import database, environment
from controlplane.cli.ground.folder import Folder, held

_QUIET = {"CONTROLPLANE_LOG_LEVEL": "error"}
_PATIENCE_S = 60


@dataclass(frozen=True)
class Site:
    """A migrated database, and the settings of those who use it as variables."""

    folder: Folder
    owner_url: str
    superuser_url: str
    values: Mapping[str, str]
    port: int


@contextlib.contextmanager
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="controlplane-bench-")))
        folder = stack.enter_context(held(path))
        # PostgreSQL's user must get through.
        path.chmod(0o711)
        server = embedded.start(folder.postgres)
        stack.callback(embedded.stop, server)
        urls = stack.enter_context(
            database.prepared(server.superuser_url, folder, fresh_name=database.dev_name)
        )
        with contextlib.closing(serving.listening("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        values = environment.variables(urls, folder, port=port, given=_QUIET)
        yield Site(folder, urls.owner, urls.superuser, values, port)


@contextlib.asynccontextmanager
async def api(on: Site, token: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The API's process, answering; yields a client of it."""
    client = httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{on.port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=120,
        trust_env=False,
        # Let go of an idle connection before the server does, so that no POST meets its end.
        limits=httpx2.Limits(keepalive_expiry=1),
    )
    async with _process(on, "serve"), client:
        async with asyncio.timeout(_PATIENCE_S):
            while not await _ready(client):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
        yield client


async def _ready(client: httpx2.AsyncClient) -> bool:
    with contextlib.suppress(httpx2.HTTPError):
        return (await client.get("/health/ready")).is_success
    return False


async def post_tenant(client: httpx2.AsyncClient, *, wait: bool) -> float:
    """Milliseconds to the answer, which is the active tenant's if it is waited for."""
    body = {"name": "Bench", "subdomain": f"t-{uuid4().hex}", "admin_email": "ada@bench.test"}
    prefer = {"Prefer": "wait=30"} if wait else {}
    began = perf_counter()
    answer = await client.post("/api/admin/tenants", json=body, headers=prefer)
    if answer.status_code != (201 if wait else 202):
        raise SystemExit(f"The API answered {answer.status_code}: {answer.text}")
    return (perf_counter() - began) * 1000


@contextlib.asynccontextmanager
async def worker(on: Site) -> AsyncIterator[None]:
    """A worker's process, working."""
    with tempfile.TemporaryDirectory() as folder:
        pid_file = Path(folder, "pid")
        async with _process(on, "worker", f"--pid-file={pid_file}"):
            async with asyncio.timeout(_PATIENCE_S):
                while not await asyncio.to_thread(pid_file.exists):  # noqa: ASYNC110  another process
                    await asyncio.sleep(0.05)
            yield


@contextlib.asynccontextmanager
async def _process(on: Site, *command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controlplane", *command),
        env=settings.child_environment(on.values),
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
