"""`controlplane reconcile`"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from controlplane.cli.exits import Exit
from controlplane.cli.output import Output, age, output_option, print_json, print_table, tell

if TYPE_CHECKING:
    from controlplane.domain.drift import Finding


@dataclass(frozen=True)
class Reconciled:
    """`since` holds when a worker saw a finding first, by kind, subject and tenant."""

    findings: "list[Finding]"
    since: dict[tuple[str, str, UUID], datetime]
    operations: list[UUID]

    def first_seen_at(self, finding: "Finding") -> str | None:
        seen = self.since.get((finding.kind.value, finding.subject, finding.tenant_id))
        return None if seen is None else seen.isoformat()


@click.command("reconcile")
@click.option("--dry-run", is_flag=True, help="Only list; the exit code is 1 if there is anything.")
@output_option
def command(*, dry_run: bool, output: Output) -> int:
    """List what does not fit together, and have operations set right what they can.

    Schemas, roles and records that carry this installation's mark and belong to no tenant are
    removed; a record that is missing is made again. The rest is only told. What carries no mark,
    or another installation's, is neither listed nor touched. Works in the database and the zone.
    """
    done = asyncio.run(_reconcile(dry_run=dry_run))
    if output is Output.JSON:
        shown = [_shown(finding, done) for finding in done.findings]
        print_json({"findings": shown, "operations": _ids(done)})
    elif done.findings:
        _print(done)
    else:
        tell("Everything fits together.")
    for operation_id in _ids(done):
        tell(f"Operation {operation_id} has begun; a worker carries it out.")
    return Exit.FAILED if dry_run and done.findings else Exit.OK


def _ids(done: Reconciled) -> list[str]:
    return [str(operation_id) for operation_id in done.operations]


def _shown(finding: "Finding", done: Reconciled) -> dict[str, Any]:
    from controlplane.domain.drift import REMEDIES  # noqa: PLC0415  the help must not wait

    return {
        "kind": finding.kind.value,
        "subject": finding.subject,
        "tenant_id": str(finding.tenant_id),
        "detail": finding.detail,
        "remedy": REMEDIES[finding.kind],
        "first_seen_at": done.first_seen_at(finding),
    }


def _print(done: Reconciled) -> None:
    from controlplane.domain.drift import REMEDIES  # noqa: PLC0415  the help must not wait

    rows = [
        (f.kind.value, f.subject, str(f.tenant_id), age(seen) if seen else "-", f.detail)
        for f in done.findings
        for seen in (done.first_seen_at(f),)
    ]
    print_table(("KIND", "SUBJECT", "TENANT", "SEEN", "DETAIL"), rows, shrinks="DETAIL")
    for kind in sorted({finding.kind for finding in done.findings}):
        tell(f"{kind}: {REMEDIES[kind]}")


async def _reconcile(*, dry_run: bool) -> Reconciled:
    from controlplane import replicas, settings  # noqa: PLC0415  the help must not wait
    from controlplane.cli import owner  # noqa: PLC0415
    from controlplane.provisioning import reconcile  # noqa: PLC0415
    from controlplane.store import findings, tenants  # noqa: PLC0415
    from controlplane.store.audit import Actor  # noqa: PLC0415
    from controlplane.tenancy.newest import newest  # noqa: PLC0415
    from controlplane.tenancy.template import load  # noqa: PLC0415

    told = settings.load()
    async with owner.database() as database, replicas.open_zone(told) as dns:
        async with database.connect() as conn:
            installation = await tenants.installation_id(conn)
            since = await findings.since_when(conn)
        found = await reconcile.look(
            database,
            installation=installation,
            dns=dns,
            dns_target=told.dns_target,
            newest=newest(load(told.tenant_template)),
        )
        if dry_run:
            return Reconciled(found, since, [])
        async with database.begin() as conn:
            begun = await reconcile.repair(
                conn, found, actor=Actor(None, "cli"), deadline_s=told.operation_deadline_s
            )
    return Reconciled(found, since, begun)
