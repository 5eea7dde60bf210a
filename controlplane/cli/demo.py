"""`controlplane demo`: the main job once, end to end, with real parts, and checked."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from controlplane import log, settings
from controlplane.cli.output import tell
from controlplane.cli.signals import stopping_on_signals

if TYPE_CHECKING:
    from controlplane.cli.ground.run import Wish


@click.command("demo")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Leave everything in this folder; 'dev --data-dir DIR' starts it again.",
)
def command(*, keep: Path | None) -> None:
    """Provision two tenants and roll back a third, for real, and check what is left.

    Starts PostgreSQL, API and worker, makes two tenants through the HTTP API, shows that each sees
    its own rows only, in a sample app server too, lets a third fail at DNS and shows that nothing of it stays. Exit code 0 says
    that all of it was as it must be. With DATABASE_URL (an administrator's URL) it uses that server
    instead of the embedded one; its database is gone afterwards, unless it is kept.
    """
    began = time.monotonic()
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"The folder '{keep}' is not empty; name a new one.")
    with _folder(keep) as folder, (folder / "demo.log").open("w", encoding="utf-8") as lines:
        log.configure(style="console", stream=lines)
        asyncio.run(_demo(folder, lines, kept=keep is not None))
    click.echo(f"\nAll as it must be, in {time.monotonic() - began:.1f} s.")
    if keep is not None:
        _say_what_is_kept(keep)


def _say_what_is_kept(keep: Path) -> None:
    click.echo(f"""
Everything is in {keep}, stopped. To look at it:

  controlplane dev --data-dir {keep}

then psql with the database's URL that it prints, and:

  cat {keep / "zone" / "localhost.zone"}
  ls {keep / "outbox"}""")


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where all is put; a throw-away one stays where something went wrong, for its log."""
    folder = keep or Path(tempfile.mkdtemp(prefix="controlplane-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    # The server's user must get through, where root has another one run it.
    folder.chmod(0o711)
    try:
        yield folder
    except click.Abort:
        _throw_away(folder, keep)
        raise
    except BaseException:
        tell(f"What happened behind the scenes: {folder / 'demo.log'}")
        raise
    _throw_away(folder, keep)


def _throw_away(folder: Path, keep: Path | None) -> None:
    if keep is None:
        shutil.rmtree(folder)


async def _demo(folder: Path, lines: IO[str], *, kept: bool) -> None:
    click.echo("Starting PostgreSQL, worker and API …")
    with stopping_on_signals() as stopping, _wish(folder, lines, kept=kept) as wish:
        from controlplane.cli.ground.run import StoppedEarly, running  # noqa: PLC0415  heavy
        from controlplane.cli.ground.story import act  # noqa: PLC0415  heavy

        try:
            async with running(wish, stopping) as up:
                await _unless(stopping, act(up))
        except StoppedEarly:
            raise click.Abort from None


async def _unless(stopping: asyncio.Event, acting: Coroutine[Any, Any, None]) -> None:
    """Act to the end; told to stop, leave it at that."""
    task = asyncio.create_task(acting)
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait([task])
    raise click.Abort


@contextlib.contextmanager
def _wish(folder: Path, lines: IO[str], *, kept: bool) -> "Iterator[Wish]":
    from controlplane.cli.ground import database, discard, environment  # noqa: PLC0415  heavy
    from controlplane.cli.ground.run import Wish  # noqa: PLC0415  heavy

    admin_url, given = settings.load_dev().database_url, settings.given()
    # It shows what stands in the zone file.
    given = environment.without_dns(given)
    if admin_url is None:
        server = database.embedded_server(18) if kept else database.throwaway_server(18)
        yield Wish(folder, 0, server, given=given, log_to=lines)
        return
    url = database.at_database(admin_url.get_secret_value(), "postgres")
    server = database.given_server(url)
    with contextlib.nullcontext() if kept else discard.discarded(url, folder):
        yield Wish(folder, 0, server, database.demo_name, given, log_to=lines)
