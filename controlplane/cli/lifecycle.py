"""`controlplane tenant suspend|resume|restore|repair|welcome|purge`"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from controlplane.cli.acting import dry_run_option, finish, timeout_option, wait_option
from controlplane.cli.client import TENANTS, open_api
from controlplane.cli.output import Output, output_option, tell

Json = dict[str, Any]


@dataclass(frozen=True)
class Verb:
    """A request: `path` below the tenant's address, `doing` while it is followed."""

    name: str
    path: str
    doing: str
    # The command's help.
    told: str


_PURGE = Verb("purge", "purge", "Purging", "")
VERBS = (
    Verb(
        "suspend",
        "suspend",
        "Suspending",
        "Suspend a tenant: its host answers 403, its data stays as it is.",
    ),
    Verb("resume", "resume", "Resuming", "Serve a suspended tenant again."),
    Verb(
        "restore",
        "restore",
        "Restoring",
        "Bring a deleted tenant back, while its grace period lasts.\n\nAll its data is there again.",
    ),
    Verb(
        "repair",
        "provision",
        "Repairing",
        "Put back what a tenant lacks, or provision a failed one again.\n\n"
        "Of an active or suspended one: newest revision, first admin, DNS record. Its data is left "
        "alone.",
    ),
    Verb(
        "welcome",
        "welcome-email",
        "Welcoming",
        "Send the welcome mail again; earlier links end with it.",
    ),
)


def command_of(verb: Verb) -> click.Command:
    """The command that asks for it."""

    @click.command(verb.name, help=verb.told)
    @click.argument("tenant")
    @wait_option
    @timeout_option
    @dry_run_option
    @output_option
    def command(
        *, tenant: str, wait: bool, timeout: float | None, dry_run: bool, output: Output
    ) -> None:
        options = _Options(wait, timeout, dry_run, output)
        asyncio.run(_ask(verb, tenant, options))

    return command


@click.command("purge")
@click.argument("tenant")
@click.option("--confirm", metavar="SUBDOMAIN", help="The tenant's subdomain, so that it is meant.")
@click.option("--skip-grace", is_flag=True, help="Now, though the grace period is not over.")
@wait_option
@timeout_option
@dry_run_option
@output_option
def purge(
    *,
    tenant: str,
    confirm: str | None,
    skip_grace: bool,
    wait: bool,
    timeout: float | None,
    dry_run: bool,
    output: Output,
) -> None:
    """Destroy a deleted tenant's data for good. There is no way back.

    Needs a token of an admin whose role is super_admin.
    """
    if confirm is None and not dry_run:
        raise click.UsageError(
            "This destroys the tenant's data for good. If you mean it, repeat its subdomain: "
            f"controlplane tenant purge {tenant} --confirm SUBDOMAIN"
        )
    options = _Options(wait, timeout, dry_run, output)

    def body(found: Json) -> Json:
        if confirm != found["subdomain"]:
            raise click.UsageError(
                f"The tenant's subdomain is '{found['subdomain']}', not '{confirm}'."
            )
        return {"confirm": confirm, "skip_grace": skip_grace}

    asyncio.run(_ask(_PURGE, tenant, options, body))


@dataclass(frozen=True)
class _Options:
    wait: bool
    timeout_s: float | None
    dry_run: bool
    output: Output


async def _ask(
    verb: Verb, reference: str, options: _Options, body: Callable[[Json], Json] | None = None
) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
        named = f"'{tenant['subdomain']}'"
        if options.dry_run:
            tell(f"Would {verb.name} {named} ({tenant['id']}), now {tenant['state']}.")
            return
        address = f"{TENANTS}/{tenant['id']}/{verb.path}"
        operation = await api.post(address, None if body is None else body(tenant))
        await finish(
            api,
            operation,
            f"{verb.doing} {named}, operation {operation['id']}",
            wait=options.wait,
            timeout_s=options.timeout_s,
            output=options.output,
        )


COMMANDS = (*map(command_of, VERBS), purge)
