"""What the tests of the edge share: ports on loopback, and how they are asked."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from controlplane.cli import serving

EXAMPLES = Path(__file__).parents[3] / "examples"
_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/usr/bin:/bin"
# What a package's main file says, without its paths.
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tenants.conf;
}}
"""


@dataclass(frozen=True)
class Place:
    """Ports on loopback; `ids` by subdomain. The app server believes the proxies' X-Tenant-Id."""

    controlplane: int
    app_server: int
    ids: dict[str, str]


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """The port of the app, served as the control plane itself is."""
    bound = serving.listening("127.0.0.1", 0)
    ready, stopping = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serving.serve(app, bound, stopping, ready=ready))
    try:
        await ready.wait()
        yield bound.getsockname()[1]
    finally:
        stopping.set()
        await task


async def ask(port: int, host: str, path: str = "/documents", **asked: Any) -> httpx.Response:
    """GET, or POST where `json` is given."""
    headers = {"host": host, **asked.pop("headers", {})}
    method = "POST" if "json" in asked else "GET"
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        url = f"http://127.0.0.1:{port}{path}"
        return await client.request(method, url, headers=headers, **asked)


class Seen:
    """An application that keeps the headers of the last request."""

    def __init__(self) -> None:
        self.port = 0
        self.headers: list[tuple[str, str]] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.headers = [(k.decode().lower(), v.decode()) for k, v in scope["headers"]]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def caddy(place: Place, port: int, folder: Path) -> list[str]:
    """The command that runs it on this port."""
    variables = {
        "PORT": port,
        "CONTROLPLANE": f"127.0.0.1:{place.controlplane}",
        "APP_SERVER": f"127.0.0.1:{place.app_server}",
        "HOME": folder,
    }
    set_them = ["env", *(f"{name}={value}" for name, value in variables.items())]
    return [*set_them, _program("caddy"), "run", "--config", str(EXAMPLES / "Caddyfile")]


def nginx(place: Place, port: int, folder: Path) -> list[str]:
    """The command that runs it on this port, its files below the folder."""
    text = (EXAMPLES / "nginx.conf").read_text(encoding="utf-8")
    for said, meant in (("8080", place.controlplane), ("8000", place.app_server), ("8001", port)):
        assert text.count(said) == 1
        text = text.replace(said, str(meant))
    (folder / "tenants.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder), encoding="utf-8")
    return [_program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    assert found is not None
    return found


@contextlib.asynccontextmanager
async def running(command: list[str], port: int) -> AsyncIterator[None]:
    """The program runs, and listens on the port."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    noise = asyncio.create_task(process.stderr.read())
    try:
        while not await _answers(port):
            assert process.returncode is None, (await noise).decode()
            await asyncio.sleep(0.02)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await noise


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
