"""`controlplane pool`"""

import asyncio
from typing import TYPE_CHECKING

import click

from controlplane.cli.output import Output, output_option, print_fields, print_json, tell

if TYPE_CHECKING:
    from controlplane.store.warm_schemas import Tally


@click.command("pool")
@output_option
def command(*, output: Output) -> None:
    """Say how many schemas are ready for tenants to come, and how many tenants got one."""
    wanted, found = asyncio.run(_tally())
    if output is Output.JSON:
        counted = {"ready": found.ready, "other": found.other, "going": found.going}
        print_json({"wanted": wanted, **counted, "hits": found.hits, "misses": found.misses})
        return
    print_fields(
        [
            ("Wanted", str(wanted)),
            ("Ready", str(found.ready)),
            ("Other", f"{found.other}, of another template, release or app login"),
            ("Going", f"{found.going}, being removed"),
            ("Last hour", _share(found.hits, found.hits + found.misses)),
        ]
    )
    if not wanted:
        tell("There is no pool here: CONTROLPLANE_WARM_POOL_SIZE is 0.")


def _share(hits: int, asked: int) -> str:
    return f"{hits} of {asked} tenants ({100 * hits // asked} %)" if asked else "no tenants"


async def _tally() -> "tuple[int, Tally]":
    from controlplane import settings  # noqa: PLC0415  the help must not wait for SQLAlchemy
    from controlplane.cli import owner  # noqa: PLC0415
    from controlplane.store import warm_schemas  # noqa: PLC0415
    from controlplane.tenancy.template import load  # noqa: PLC0415
    from controlplane.wiring import warm_recipe  # noqa: PLC0415

    told = settings.load()
    recipe = warm_recipe(told, load(told.tenant_template))
    async with owner.transaction() as conn:
        return told.warm_pool_size, await warm_schemas.tally(conn, recipe)
