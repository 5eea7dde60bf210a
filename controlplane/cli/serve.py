"""`controlplane serve`: the HTTP API."""

import asyncio

import click
import structlog

from controlplane import log, settings
from controlplane.cli.signals import stopping_on_signals
from controlplane.settings import Settings


@click.command("serve")
@click.option("--host", help="Listen here instead of CONTROLPLANE_LISTEN_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of CONTROLPLANE_LISTEN_PORT.")
def command(*, host: str | None, port: int | None) -> None:
    """Run the HTTP API until SIGTERM or Ctrl-C.

    Any number of them may run; they share nothing but PostgreSQL.
    """
    wanted = settings.load()
    log.configure(level=wanted.log_level, style=wanted.log_format)
    asyncio.run(
        _serve(
            wanted,
            host=wanted.listen_host if host is None else host,
            port=wanted.listen_port if port is None else port,
        )
    )


async def _serve(wanted: Settings, *, host: str, port: int) -> None:
    from controlplane.cli import serving  # noqa: PLC0415  the help must not wait for Litestar
    from controlplane.web.app import create_app  # noqa: PLC0415
    from controlplane.wiring import open_parts  # noqa: PLC0415

    with stopping_on_signals() as stopping:
        async with open_parts(wanted) as parts:
            bound = serving.listening(host, port)
            address = bound.getsockname()
            structlog.get_logger().info("serving", host=address[0], port=address[1])
            await serving.serve(create_app(parts), bound, stopping)
