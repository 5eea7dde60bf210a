"""`controlplane drift`"""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from controlplane.cli.exits import CommandFailed, Exit
from controlplane.cli.output import Output, flowing, output_option, print_json
from controlplane.errors import TenantNotFound

if TYPE_CHECKING:
    from controlplane.fleet.drift import Drifted, Report


@click.command("drift")
@click.argument("tenant", required=False)
@click.option("--repair-plan", is_flag=True, help="Print the SQL that would mend what was found.")
@click.option(
    "--removals",
    is_flag=True,
    help="With --repair-plan: have it remove what the template does not know, data included.",
)
@output_option
def command(*, tenant: str | None, repair_plan: bool, removals: bool, output: Output) -> int:
    """Compare tenants' schemas with what the template makes; the exit code is 1 if one differs, or if
    TENANT is at another revision.

    TENANT is a subdomain or an id; without it, all are compared that are at the template's
    revision. Lines begin with + for what the template does not make, - for what is missing, ~ for
    what is otherwise. Changes nothing: a repair plan is for you to read and to run as the owner.
    """
    if removals and not repair_plan:
        raise click.UsageError("--removals needs --repair-plan.")
    report, owner = asyncio.run(_look(tenant))
    if output is Output.JSON:
        print_json(_shown(report))
    elif tenant is not None and not report.looked_at:
        raise CommandFailed(
            f"The tenant '{tenant}' is not at revision {report.revision}, so it was not compared. A"
            " rollout brings it there, see: controlplane rollout plan"
        )
    elif repair_plan:
        _print_plan(report, owner=owner, removals=removals)
    else:
        _print(report)
    compared = tenant is None or report.looked_at
    return Exit.OK if compared and not report.drifted else Exit.FAILED


def _shown(report: "Report") -> dict[str, Any]:
    return {
        "revision": report.revision,
        "compared": report.looked_at,
        "behind": report.behind,
        "drifted": [
            {
                "tenant_id": str(one.id),
                "subdomain": one.subdomain,
                "state": one.state,
                "differences": [difference.to_json() for difference in one.differences],
            }
            for one in report.drifted
        ],
    }


def _print(report: "Report") -> None:
    for one in report.drifted:
        print(f"{one.subdomain} ({one.state}, {one.id})")
        for difference in one.differences:
            flowing(f"  {difference}", hang=2)
    flowing(_summary(report), err=True)


def _summary(report: "Report") -> str:
    differ = len(report.drifted)
    how = f"{differ} {'differs' if differ == 1 else 'differ'}" if differ else "all alike"
    told = f"{report.looked_at} compared with revision {report.revision}"
    told += f": {how}." if report.looked_at else "."
    if report.behind:
        told += f" {report.behind} at other revisions were not compared: they are for a rollout."
    return told


def _print_plan(report: "Report", *, owner: str, removals: bool) -> None:
    for one in report.drifted:
        print(f"-- {one.subdomain} ({one.state}, {one.id})")
        print("BEGIN;")
        for statement in _statements(one, owner=owner, removals=removals):
            print(statement if statement.startswith("--") else f"{statement};")
        print("COMMIT;")
    flowing(_summary(report), err=True)


def _statements(one: "Drifted", *, owner: str, removals: bool) -> list[str]:
    from controlplane.domain.naming import schema_name  # noqa: PLC0415  the help must not wait
    from controlplane.domain.structure_repair import repair_plan  # noqa: PLC0415

    return repair_plan(
        one.differences,
        schema=schema_name(one.id),
        tenant_id=one.id,
        owner=owner,
        removals=removals,
    )


async def _look(reference: str | None) -> "tuple[Report, str]":
    """What was found, and the owner's quoted name."""
    from sqlalchemy import text  # noqa: PLC0415  the help must not wait

    from controlplane import settings  # noqa: PLC0415
    from controlplane.cli import owner  # noqa: PLC0415
    from controlplane.fleet import drift  # noqa: PLC0415
    from controlplane.store import tenants  # noqa: PLC0415
    from controlplane.store.urls import sqlalchemy_url  # noqa: PLC0415
    from controlplane.tenancy.template import load  # noqa: PLC0415

    told = settings.load()
    app = sqlalchemy_url(told.app_database_url.get_secret_value()).username or ""
    async with owner.database() as database:
        async with database.connect() as conn:
            installation = await tenants.installation_id(conn)
            name = (await conn.execute(text("SELECT quote_ident(current_user)"))).scalar_one()
            only = None if reference is None else await owner.tenant_id(conn, reference)
        report = await drift.look(
            database,
            installation=installation,
            app_login=app,
            template=load(told.tenant_template),
            only=only,
        )
    if reference is not None and not report.looked_at + report.behind:
        raise TenantNotFound(f"The tenant '{reference}' has no schema.")
    return report, name
