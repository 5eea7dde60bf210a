"""`controlplane dev`: everything on one machine, until it is told to stop."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane import log, settings
from controlplane.cli.output import tell
from controlplane.cli.signals import stopping_on_signals

if TYPE_CHECKING:
    from controlplane.cli.ground.run import Running

_READY = """\
Ready: {url}  (Ctrl-C stops)

  Tenants   http://<subdomain>.{domain}:{port}
  Database  {database}
  Zone      {zone}
  Outbox    {outbox}
  Token     {token}

Create a tenant:

  curl -X POST {url}/api/admin/tenants \\
    -H 'Authorization: Bearer {token}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"name":"Acme","subdomain":"acme","admin_email":"ada@acme.test"}}'

or:

  export CONTROLPLANE_URL={url}
  export CONTROLPLANE_TOKEN={token}
  controlplane tenant create Acme --subdomain acme --admin-email ada@acme.test

Speak for its admin at the tenant's host:

  set -a; . {settings}; set +a
  curl http://acme.{domain}:{port}/api/tenant/settings \\
    -H "Authorization: Bearer $(controlplane token tenant acme)"
"""


@click.command("dev")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of API and tenant hosts; 0 takes a free one.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=".controlplane",
    show_default=True,
    help="Where everything is kept; made where it is missing.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written as JSON once all is up: URLs, token, paths, process id.",
)
@click.option(
    "--postgres",
    type=click.Choice(["18", "16"]),
    default="18",
    show_default=True,
    help="Version of the embedded PostgreSQL.",
)
def command(*, port: int, data_dir: Path, ready_file: Path | None, postgres: str) -> None:
    """Run everything on this machine: PostgreSQL, API, worker, DNS zone file, mail outbox.

    What it makes stays in the data folder, so it can be stopped, or killed, and started again.
    With DATABASE_URL (an administrator's URL) it uses that server instead of the embedded one; a
    URL that ends in '/postgres' gets a database 'controlplane_dev'.
    """
    asyncio.run(_dev(port=port, data_dir=data_dir, ready_file=ready_file, version=int(postgres)))
    tell(f"Stopped; 'controlplane dev --data-dir {data_dir}' goes on from here.")


async def _dev(*, port: int, data_dir: Path, ready_file: Path | None, version: int) -> None:
    given, admin_url = settings.given(), settings.load_dev().database_url
    log.configure(level=given.get("CONTROLPLANE_LOG_LEVEL", "info"), style="console")
    tell("Starting PostgreSQL, worker and API …")
    with stopping_on_signals() as stopping:
        from controlplane.cli.ground import database  # noqa: PLC0415  heavy
        from controlplane.cli.ground.run import StoppedEarly, Wish, running  # noqa: PLC0415  heavy

        if admin_url is None:
            server = database.embedded_server(version)
        else:
            server = database.given_server(admin_url.get_secret_value())
        wish = Wish(data_dir, port, server, given=given, ready_file=ready_file)
        with contextlib.suppress(StoppedEarly):
            async with running(wish, stopping) as up:
                _announce(up, ready_file)
                await stopping.wait()
                tell("Stopping …")


def _announce(up: "Running", ready_file: Path | None) -> None:
    from controlplane.cli.ground.folder import write_json  # noqa: PLC0415  heavy

    if ready_file is not None:
        write_json(ready_file.absolute(), ready(up))
    click.echo(
        _READY.format(
            url=up.url,
            domain=up.settings.base_domain,
            port=up.settings.listen_port,
            database=up.urls.superuser,
            zone=up.folder.zone,
            outbox=up.folder.outbox,
            settings=up.folder.settings,
            token=up.token,
        )
    )


def ready(up: "Running") -> dict[str, str | int]:
    """What the ready file says."""
    return {
        "url": up.url,
        "base_domain": up.settings.base_domain,
        "database_url": up.urls.superuser,
        "app_database_url": up.urls.app,
        "admin_token": up.token,
        "outbox": str(up.folder.outbox),
        "zone": str(up.folder.zone),
        "pid": os.getpid(),
    }
