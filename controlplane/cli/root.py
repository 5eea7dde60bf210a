"""The root command. Each sub-command's module is imported when it is called, not before: the
help must appear at once."""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from controlplane import __version__
from controlplane.cli.exits import MEANINGS, Exit, exit_code_of, message_of
from controlplane.errors import ControlPlaneError

# Name: what the list of commands says. The module is controlplane.cli.<name>, its command `command`.
COMMANDS = {
    "demo": "Provision two tenants and roll back a third, for real, in a throw-away folder.",
    "dev": "Run everything on this machine: PostgreSQL, API, worker, DNS zone, mail outbox.",
    "serve": "Run the HTTP API.",
    "worker": "Run a worker: it carries operations out.",
    "migrate": "Bring the public schema to this release and grant the logins their rights.",
    "admin": "Global admins.",
    "token": "API tokens: of global admins, and for trials of tenants' users.",
    "tenant": "Create, list, show, suspend, rename, delete, restore, purge tenants.",
    "operation": "List, show, watch, cancel, resume, abandon operations.",
    "rollout": "Upgrade every tenant's schema: plan, start, watch, pause, resume, retry, cancel.",
    "schema": "What is in a tenant's schema.",
    "drift": "Compare tenants' schemas with what the template makes.",
    "pool": "Say how many schemas are ready for tenants to come.",
    "template": "Check the template that tenants' schemas are made from.",
    "email": "See what tenants are sent.",
    "reconcile": "List what does not fit together, and have it set right.",
}
_EXAMPLES = """\
Examples:
  controlplane demo
  controlplane dev --data-dir .controlplane
  controlplane tenant create Acme --subdomain acme --admin-email ada@acme.test
  controlplane tenant list --output json
  controlplane operation watch 5f0c2c1e-9a59-4f3e-8a52-0d5b6a2d9b11
"""
_CLIENT = """\
tenant, operation and rollout talk to the API: CONTROLPLANE_URL says where it is,
CONTROLPLANE_TOKEN or CONTROLPLANE_TOKEN_FILE holds the bearer token. serve,
worker, migrate, admin, token, schema, drift, pool and reconcile need the settings
of the control plane (docs/reference/settings.md).
"""


class LazyGroup(click.Group):
    """A group whose sub-commands are known by name and imported when one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"controlplane.cli.{cmd_name}").command
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("Control plane for software that gives every customer its own schema.\n\n")
        self.format_usage(ctx, formatter)
        formatter.write(f"\n{_EXAMPLES}")
        self.format_commands(ctx, formatter)
        self.format_options(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), MEANINGS[code]) for code in Exit])
        formatter.write(f"\n{_CLIENT}")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [row for p in self.get_params(ctx) if (row := p.get_help_record(ctx)) is not None]
        with formatter.section("Options"):
            formatter.write_dl(rows)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.version_option(__version__, "--version", message="%(version)s")
@click.pass_context
def root(ctx: click.Context, /, **options: Any) -> None:
    ctx.obj = options


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code. Prints what went wrong as one line."""
    debug = "--debug" in arguments
    try:
        result = root.main(list(arguments), prog_name="controlplane", standalone_mode=False)
        return int(result) if isinstance(result, int) else Exit.OK
    except click.ClickException as error:
        error.show()
        return Exit.USAGE if isinstance(error, click.UsageError) else Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except ControlPlaneError as error:
        _complain(error, message_of(error), debug=debug)
        return exit_code_of(error)
    except Exception as error:  # noqa: BLE001  the last resort of the process
        _complain(error, _chain(error), debug=debug)
        return Exit.FAILED


def _complain(error: Exception, message: str, *, debug: bool) -> None:
    from controlplane.log import redacted  # noqa: PLC0415  structlog takes its time

    if debug:
        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr)
    print(f"Error: {redacted(message)}", file=sys.stderr)


def _chain(error: BaseException) -> str:
    """The causes in one line each, outermost first."""
    told = [f"{type(error).__name__}: {error}".strip()]
    while (cause := error.__cause__) is not None:
        error = cause
        told.append(f"  because of {type(error).__name__}: {error}")
    return "\n".join([*told, "Run 'controlplane --debug …' for the traceback."])
