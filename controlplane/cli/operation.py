"""`controlplane operation …`"""

import asyncio
from typing import Any

import click

from controlplane.cli import follow
from controlplane.cli.client import OPERATIONS, open_api
from controlplane.cli.output import (
    Output,
    age,
    one_of,
    output_option,
    print_fields,
    print_json,
    print_table,
    tell,
)
from controlplane.domain.operations import OperationState

Json = dict[str, Any]


@click.group("operation")
def command() -> None:
    """List, show, watch, cancel, resume, abandon operations.

    \b
    controlplane operation list --state parked
    controlplane operation watch 5f0c2c1e-9a59-4f3e-8a52-0d5b6a2d9b11
    """


@command.command("list")
@click.option("--tenant", help="Only those of this tenant, by subdomain or id.")
@click.option("--state", type=one_of(OperationState), help="Only those in this state.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@output_option
def list_(*, tenant: str | None, state: str | None, limit: int, output: Output) -> None:
    """List operations, the newest first."""
    asyncio.run(_list(tenant, state, limit, output))


async def _list(tenant: str | None, state: str | None, limit: int, output: Output) -> None:
    async with open_api() as api:
        tenant_id = None if tenant is None else (await api.tenant(tenant))["id"]
        found = await api.items(OPERATIONS, limit, tenant_id=tenant_id, state=state)
    if output is Output.JSON:
        print_json(found)
        return
    rows = [(o["id"], o["kind"], o["state"], _at_step(o), age(o["created_at"])) for o in found]
    print_table(("ID", "KIND", "STATE", "STEP", "AGE"), rows)


def _at_step(operation: Json) -> str:
    """The step that is under way, or was when it ended otherwise than well."""
    under_way = [s["name"] for s in operation["steps"] if s["state"] in {"started", "undo_started"}]
    return under_way[0] if under_way else "-"


@command.command("show")
@click.argument("operation_id", type=click.UUID)
@output_option
def show(*, operation_id: object, output: Output) -> None:
    """Show an operation and its steps."""
    asyncio.run(_show(str(operation_id), output))


async def _show(operation_id: str, output: Output) -> None:
    async with open_api() as api:
        operation = await api.get(f"{OPERATIONS}/{operation_id}")
    _print(operation, output)


def _print(operation: Json, output: Output) -> None:
    if output is Output.JSON:
        print_json(operation)
        return
    names = ("id", "kind", "state", "tenant_id", "created_at", "deadline_at", "finished_at")
    fields = [(name, str(operation[name])) for name in names if operation[name]]
    if operation["cancel_requested"]:
        fields.append(("cancel_requested", "yes"))
    if operation["error"]:
        fields.append(("error", _error(operation["error"])))
    print_fields(fields)
    click.echo()
    rows = [
        (s["name"], s["state"], str(s["attempt"]), str(s["undo_attempt"]), _error(s["error"]))
        for s in operation["steps"]
    ]
    print_table(("STEP", "STATE", "STARTS", "UNDOS", "ERROR"), rows, wraps="ERROR")


def _error(error: Json | None) -> str:
    return f"{error.get('detail', '')} [{error.get('code', 'unknown')}]" if error else ""


@command.command("watch")
@click.argument("operation_id", type=click.UUID)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Watch at most so long; the operation goes on.",
)
@output_option
def watch(*, operation_id: object, timeout: float | None, output: Output) -> None:
    """Follow an operation to its end; exit code 0 if it succeeded."""
    asyncio.run(_watch(str(operation_id), timeout, output))


async def _watch(operation_id: str, timeout_s: float | None, output: Output) -> None:
    async with open_api() as api:
        operation = await api.get(f"{OPERATIONS}/{operation_id}")
        title = f"{operation['kind']}, operation {operation_id}"
        operation = await follow.follow(api, operation, title=title, timeout_s=timeout_s)
    if output is Output.JSON:
        print_json(operation)
    follow.require_success(operation)
    if output is Output.TABLE:
        tell("Succeeded.")


@command.command("cancel")
@click.argument("operation_id", type=click.UUID)
@output_option
def cancel(*, operation_id: object, output: Output) -> None:
    """Turn a running operation round: what it did is undone.

    Past its pivot (the step 'activate' of a new tenant) it is refused.
    """
    asyncio.run(_post(str(operation_id), "cancel", None, output))


@command.command("resume")
@click.argument("operation_id", type=click.UUID)
@output_option
def resume(*, operation_id: object, output: Output) -> None:
    """Let a parked operation go on, once the cause is gone."""
    asyncio.run(_post(str(operation_id), "resume", None, output))


@command.command("abandon")
@click.argument("operation_id", type=click.UUID)
@click.option("--reason", required=True, help="Why, in a word or two.")
@click.option("--comment", required=True, help="What was done by hand, for those who come later.")
@output_option
def abandon(*, operation_id: object, reason: str, comment: str, output: Output) -> None:
    """End a parked operation as it is; what is left of it stays on record."""
    body = {"reason": reason, "comment": comment}
    asyncio.run(_post(str(operation_id), "abandon", body, output))


async def _post(operation_id: str, verb: str, body: Json | None, output: Output) -> None:
    async with open_api() as api:
        operation = await api.post(f"{OPERATIONS}/{operation_id}/{verb}", body)
    if not follow.at_rest(operation):
        tell(f"Accepted. Watch it by: controlplane operation watch {operation_id}")
    _print(operation, output)
