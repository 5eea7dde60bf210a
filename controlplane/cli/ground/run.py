"""A whole control plane on this machine: what `dev` keeps running and `demo` runs once."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from controlplane import settings
from controlplane.cli import serving
from controlplane.cli.ground import database, environment, first_admin
from controlplane.cli.ground.database import Server, Urls
from controlplane.cli.ground.folder import Folder, held, kept_keys, write_settings
from controlplane.cli.ground.worker_process import supervised, working
from controlplane.dns_settings import DnsKind
from controlplane.settings import Settings
from controlplane.web.app import create_app
from controlplane.wiring import Parts, open_parts
from controlplane_dns.zonefile import ZoneFile

_HOST = "127.0.0.1"


class StoppedEarly(Exception):  # noqa: N818  not an error: somebody asked for it
    """Told to stop while starting."""


@dataclass(frozen=True)
class Wish:
    """What is to be run. `port` 0 takes a free one; `given` are settings chosen outside."""

    data_dir: Path
    port: int
    server: Server
    database_name: Callable[[], str] = database.dev_name
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    log_to: IO[str] | None = None
    ready_file: Path | None = None


@dataclass(frozen=True)
class Running:
    """A control plane that answers. `token` is a fresh one of the first super_admin."""

    folder: Folder
    urls: Urls
    settings: Settings
    parts: Parts
    url: str
    token: str = field(repr=False)


@contextlib.asynccontextmanager
async def running(wish: Wish, stopping: asyncio.Event) -> AsyncIterator[Running]:
    """Start everything, in order; stop it in reverse order at the end.

    Sets `stopping` if the API ends by itself. Raises StartupErrors, and StoppedEarly when
    `stopping` is set before all is up.
    """
    async with contextlib.AsyncExitStack() as stack:
        enter = functools.partial(_enter, stack, stopping)
        folder = await enter(held(wish.data_dir))
        stack.enter_context(_gone_at_both_ends(wish.ready_file))
        bound = stack.enter_context(contextlib.closing(serving.listening(_HOST, wish.port)))
        admin_url = await enter(wish.server(folder))
        urls = await enter(database.prepared(admin_url, folder, fresh_name=wish.database_name))
        port = bound.getsockname()[1]
        given = {**kept_keys(folder), **wish.given}
        values = environment.variables(urls, folder, port=port, given=given)
        write_settings(folder.settings, values)
        await stack.enter_async_context(
            supervised(values, folder.worker_pid, stopping, log_to=wish.log_to)
        )
        wanted = settings.load(values)
        parts = await stack.enter_async_context(open_parts(wanted))
        if wanted.dns is DnsKind.ZONEFILE:
            await asyncio.to_thread(_create_zone, wanted)
        token = await first_admin.fresh_token(parts.owner)
        await stack.enter_async_context(served(create_app(parts), bound, stopping))
        await working(folder.worker_pid, stopping)
        _check(stopping)
        yield Running(folder, urls, wanted, parts, f"http://{_HOST}:{port}", token)


def _create_zone(wanted: Settings) -> None:
    """So that the file which is told of is there before the first tenant is."""
    assert wanted.dns_zone_file is not None  # noqa: S101  environment.variables sets it
    ZoneFile(
        wanted.dns_zone_file, zone=wanted.base_domain, nameserver=wanted.dns_nameserver
    ).create()


@contextlib.contextmanager
def _gone_at_both_ends(file: Path | None) -> Iterator[None]:
    """A killed run may have left one; only who holds the folder may say so."""
    if file is None:
        yield
        return
    file.unlink(missing_ok=True)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


async def _enter(
    stack: contextlib.AsyncExitStack,
    stopping: asyncio.Event,
    manager: contextlib.AbstractContextManager[Any],
) -> Any:
    """In a thread, so that signals are heard meanwhile; never given up half-way."""
    entered = await asyncio.to_thread(stack.enter_context, manager)
    _check(stopping)
    return entered


def _check(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        raise StoppedEarly


@contextlib.asynccontextmanager
async def served(app: Any, bound: socket.socket, ended: asyncio.Event) -> AsyncIterator[None]:
    """The app answers on the socket. `ended` is set when it stops, by itself or at the end."""
    ready, stopping = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serving.serve(app, bound, stopping, ready=ready))
    task.add_done_callback(lambda _: ended.set())
    answering = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([task, answering], return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        answering.cancel()
        stopping.set()
        await task
