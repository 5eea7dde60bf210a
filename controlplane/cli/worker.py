"""`controlplane worker`: carries operations out and sends mail."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
import structlog

from controlplane import log, settings
from controlplane.cli.signals import stopping_on_signals
from controlplane.settings import Settings


@click.command("worker")
@click.option(
    "--pid-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written with the process id as soon as it works.",
)
@click.option("--until-stdin-ends", is_flag=True, hidden=True)
def command(*, pid_file: Path | None, until_stdin_ends: bool) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    It claims operations, carries them out step by step and delivers mail. Any number of them may
    run, on any number of machines. One that is killed loses nothing: another takes over when its
    lease has run out.
    """
    wanted = settings.load()
    log.configure(level=wanted.log_level, style=wanted.log_format)
    asyncio.run(_work(wanted, pid_file=pid_file, until_stdin_ends=until_stdin_ends))


async def _work(wanted: Settings, *, pid_file: Path | None, until_stdin_ends: bool) -> None:
    from controlplane.wiring import open_parts  # noqa: PLC0415
    from controlplane.worker import run_worker  # noqa: PLC0415

    with stopping_on_signals() as stopping:
        if until_stdin_ends:
            # Whoever started us holds the other end, and may be killed without a word.
            on_end_of(sys.stdin.fileno(), stopping.set)
        async with open_parts(wanted) as parts:
            if pid_file is not None:
                await asyncio.to_thread(_write_pid, pid_file)
            structlog.get_logger().info("working", slots=wanted.worker_slots)
            await run_worker(parts, stopping)


def on_end_of(descriptor: int, act: Callable[[], None]) -> None:
    """Act once, when the descriptor has been closed at its other end.

    What has ended stays readable: a reader that stayed would be called without a pause.
    """
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(descriptor)
        act()

    loop.add_reader(descriptor, readable)


def _write_pid(file: Path) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(f"{os.getpid()}\n", encoding="ascii")
    draft.replace(file)
