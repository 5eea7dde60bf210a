"""The options that say how a rollout goes about it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from controlplane.domain.rings import USUAL
from controlplane.domain.rollouts import parse_budget
from controlplane.errors import ValidationFailed

Json = dict[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])


def _budget(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        parse_budget(text)
    except ValidationFailed as error:
        raise click.BadParameter(str(error)) from error
    return text


_POLICY = (
    click.option(
        "--ring",
        "rings",
        multiple=True,
        metavar="NAME=RULE",
        help="name=5%, name=tier:starter, name=tag:beta or name=list:acme,globex; again for the"
        f" next. Default: {' '.join(USUAL)}. Everybody else comes last.",
    ),
    click.option(
        "--failure-budget",
        metavar="N|N%",
        default="0",
        show_default=True,
        callback=_budget,
        help="So many of a ring may fail.",
    ),
    click.option(
        "--soak",
        type=click.FloatRange(0),
        default=0.0,
        metavar="SECONDS",
        help="Wait so long between two rings.",
    ),
    click.option(
        "--max-parallel",
        type=click.IntRange(1, 64),
        default=2,
        show_default=True,
        help="Transactions at once, over all workers.",
    ),
    click.option(
        "--lock-timeout",
        type=click.IntRange(1, 10_000),
        default=200,
        show_default=True,
        metavar="MS",
        help="An upgrade queues so long for a table in use, then tries later.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(1, 1000),
        default=20,
        show_default=True,
        help="It tries so often.",
    ),
    click.option("--only-rings", is_flag=True, help="Leave out whoever is in none of the rings."),
    click.option(
        "--to",
        metavar="REVISION",
        help="Go back to this older revision: one of each chain that goes back, such as app_0004.",
    ),
)


def policy_options(asked: Command) -> Command:
    """Gives a command the options that say how a rollout goes about it."""
    for option in reversed(_POLICY):
        asked = option(asked)
    return asked


def policy_of(given: Json) -> Json:
    """What the API is told of them."""
    policy = {
        "failure_budget": given["failure_budget"],
        "soak_s": given["soak"],
        "max_parallel": given["max_parallel"],
        "lock_timeout_ms": given["lock_timeout"],
        "attempts": given["attempts"],
        "rest": not given["only_rings"],
    }
    named = {"rings": list(given["rings"]), "to": given["to"]}
    return policy | {name: value for name, value in named.items() if value}
