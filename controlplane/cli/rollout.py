"""`controlplane rollout …`"""

import asyncio
from typing import Any

import click

from controlplane import settings
from controlplane.cli import rollout_release, rollout_watch
from controlplane.cli.client import ROLLOUTS, Api, open_api
from controlplane.cli.exits import CommandFailed, Exit
from controlplane.cli.output import (
    Output,
    flowing,
    output_option,
    print_fields,
    print_json,
    print_table,
    tell,
)
from controlplane.cli.rollout_bars import foreign, headline, span
from controlplane.cli.rollout_policy import policy_of, policy_options
from controlplane.domain.rollouts import Ask, TargetState

Json = dict[str, Any]


@click.group("rollout")
def command() -> None:
    """Upgrade every tenant's schema, ring by ring.

    \b
    controlplane rollout plan
    controlplane rollout start --ring canary=list:acme --ring early=10% --soak 600
    controlplane rollout watch
    controlplane rollout retry
    controlplane rollout start --to app_0004 --ring beta=tag:beta --only-rings

    ROLLOUT is an id; where it is left out, the newest is meant.
    """


@command.command("plan")
@policy_options
@output_option
def plan(*, output: Output, **policy: Any) -> None:
    """Say what a rollout would do: the SQL, who is in which ring, locks, time, what may hurt.

    Nothing is changed: every statement is tried in a schema that is undone. Exit code 1 where a
    revision cannot be compiled, breaks a rule of 'template check', or is refused by PostgreSQL.
    """
    asyncio.run(_plan(policy_of(policy), output))


async def _plan(policy: Json, output: Output) -> None:
    async with open_api() as api:
        found = await api.post(f"{ROLLOUTS}/plan", policy)
    if output is Output.JSON:
        print_json(found)
    else:
        _print_plan(found)


def _print_plan(plan: Json) -> None:
    print_fields(
        [
            ("revision", plan["revision"] + (", an older one" if plan["back"] else "")),
            ("targets", targets(plan)),
            ("connections", f"{plan['connections']} at once"),
            ("locks", f"at most {plan['locks_per_target']} each, of {plan['lock_room']}"),
            ("time", f"about {span(plan['estimated_s'])}"),
        ]
    )
    click.echo()
    print_table(("RING", "TARGETS"), [(r["name"], str(r["targets"])) for r in plan["rings"]])
    for path in plan["paths"]:
        how = "by Alembic, row by row:" if path["online"] else "by this:"
        click.echo(f"\n{path['targets']} from {path['revision']} {how}")
        for statement in path["sql"]:
            click.echo(f"  {statement};")
        for lost in path["lost"]:
            tell(f"lost for good: {lost}")
    for warning in plan["warnings"]:
        told = (
            f"\n{warning['rule']}: {warning['statement']}\n  {warning['why']} {warning['remedy']}"
        )
        flowing(told, err=True)


def targets(plan: Json) -> str:
    """Of a plan, how many are upgraded, skipped and left alone."""
    # No way is planned for whoever is skipped.
    frozen = plan["targets"] - sum(path["targets"] for path in plan["paths"])
    told = f", {frozen} of them frozen, to be skipped" if frozen else ""
    older = f"; {plan['older']} at an older one stay there" if plan["older"] else ""
    return f"{plan['targets']}{told}, and {plan['at_revision']} that are there already{older}"


@command.command("start")
@policy_options
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Follow it, or only begin it."
)
@click.option("--dry-run", is_flag=True, help="Only plan it.")
@click.option(
    "--release",
    is_flag=True,
    help="As a release's job: wait for an API with this installation's tenant template, and follow its"
    " rollout where it has begun already.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="With --release: wait so long for that API.",
)
@output_option
def start(
    *, wait: bool, dry_run: bool, release: bool, patience: float, output: Output, **policy: Any
) -> None:
    """Begin to upgrade every schema that is behind, and watch it.

    Exit code 0 where every one was upgraded or skipped.
    """
    if release and policy["to"]:
        raise click.UsageError(
            "--release goes to the newest revision, --to back: give one of them."
        )
    if dry_run:
        asyncio.run(_plan(policy_of(policy), output))
    else:
        patience_s = patience if release else None
        asyncio.run(_start(policy_of(policy), patience_s, wait=wait, output=output))


async def _start(policy: Json, patience_s: float | None, *, wait: bool, output: Output) -> None:
    async with open_api() as api:
        rollout = await _begun(api, policy, patience_s)
        if wait:
            await _followed(api, rollout, output, timeout_s=None)
        else:
            tell("Begun. Watch it by: controlplane rollout watch")
            _print(rollout, output)


async def _begun(api: Api, policy: Json, patience_s: float | None) -> Json:
    if patience_s is None:
        return await api.post(ROLLOUTS, policy)
    from controlplane.tenancy.template import load  # noqa: PLC0415  the help must not wait

    digest = load(settings.load_client().tenant_template).digest
    return await rollout_release.begin(api, policy, template_digest=digest, patience_s=patience_s)


@command.command("watch")
@click.argument("rollout", required=False, type=click.UUID)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Watch at most so long; the rollout goes on.",
)
@output_option
def watch(*, rollout: object | None, timeout: float | None, output: Output) -> None:
    """Follow a rollout until it has ended or was halted; exit code 0 if it succeeded."""
    asyncio.run(_watch(rollout, timeout, output))


async def _watch(reference: object | None, timeout_s: float | None, output: Output) -> None:
    async with open_api() as api:
        await _followed(api, await _found(api, reference), output, timeout_s=timeout_s)


async def _followed(api: Api, rollout: Json, output: Output, *, timeout_s: float | None) -> None:
    rollout = await rollout_watch.watch(api, rollout, timeout_s=timeout_s)
    if output is Output.JSON:
        print_json(rollout)
    await rollout_watch.conclude(api, rollout)


@command.command("status")
@click.argument("rollout", required=False, type=click.UUID)
@output_option
def status(*, rollout: object | None, output: Output) -> None:
    """Show how far a rollout is, ring by ring, and who failed or was skipped, and why."""
    asyncio.run(_status(rollout, output))


async def _status(reference: object | None, output: Output) -> None:
    async with open_api() as api:
        rollout = await _found(api, reference)
        _print(rollout, output)
        if output is Output.TABLE:
            await rollout_watch.print_failed(api, rollout)
            await rollout_watch.print_failed(api, rollout, TargetState.SKIPPED)


def _print(rollout: Json, output: Output) -> None:
    if output is Output.JSON:
        print_json(rollout)
        return
    click.echo(f"{rollout['id']}  {headline(rollout)}")
    counts = ("pending", "waiting", "done", "failed", "skipped")
    rows = [(ring["name"], *(str(ring[name]) for name in counts)) for ring in rollout["rings"]]
    print_table(("RING", *(name.upper() for name in counts)), rows)
    if rollout["error"]:
        flowing(f"{rollout['error']['detail']} [{rollout['error']['code']}]", err=True)
    if told := foreign(rollout):
        flowing(told, err=True)


async def _found(api: Api, reference: object | None) -> Json:
    if reference is not None:
        return await api.get(f"{ROLLOUTS}/{reference}")
    newest = await api.items(ROLLOUTS, 1)
    if not newest:
        raise CommandFailed("There has been no rollout yet.", exit_code=Exit.NOT_FOUND)
    return newest[0]


_HELP = {
    Ask.PAUSE: "Begin no further upgrade; those under way end.",
    Ask.RESUME: "Go on with a paused or halted rollout; what failed is left as it is.",
    Ask.RETRY: "Upgrade again what failed, and nothing else, and go on.",
    Ask.CANCEL: "End a rollout for good; who was upgraded stays so.",
}


def _asking(what: Ask) -> click.Command:
    @click.command(what.value, help=_HELP[what])
    @click.argument("rollout", required=False, type=click.UUID)
    @output_option
    def ask(*, rollout: object | None, output: Output) -> None:
        asyncio.run(_ask(rollout, what, output))

    return ask


for _each in Ask:
    command.add_command(_asking(_each))


async def _ask(reference: object | None, what: Ask, output: Output) -> None:
    async with open_api() as api:
        rollout = await _found(api, reference)
        _print(await api.post(f"{ROLLOUTS}/{rollout['id']}/{what}"), output)
