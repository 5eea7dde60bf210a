"""What the commands that start an operation of a tenant have in common."""

from typing import Any

import click

from controlplane.cli import follow
from controlplane.cli.client import TENANTS, Api
from controlplane.cli.output import Output, print_fields, print_json, tell

Json = dict[str, Any]

wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Follow the operation to its end."
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait at most so long; the operation goes on.",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only check and say what would happen."
)


async def finish(
    api: Api, operation: Json, title: str, *, wait: bool, timeout_s: float | None, output: Output
) -> None:
    """Follow the operation where that is wanted, then print how things stand.

    Raises CommandFailed where it was followed and did not succeed.
    """
    if wait:
        operation = await follow.follow(api, operation, title=title, timeout_s=timeout_s)
    else:
        tell(f"Accepted. Watch it by: controlplane operation watch {operation['id']}")
    if output is Output.JSON:
        print_json(operation)
    else:
        print_fields(_brief(await api.get(f"{TENANTS}/{operation['tenant_id']}"), operation))
    if wait:
        follow.require_success(operation)


def _brief(tenant: Json, operation: Json) -> list[tuple[str, str]]:
    return [
        ("Tenant", tenant["id"]),
        ("State", tenant["state"]),
        ("URL", tenant["url"]),
        ("Operation", f"{operation['id']} ({operation['state']})"),
    ]
