"""Following a rollout until nothing happens by itself any more."""

import asyncio
import contextlib
import json
from typing import Any

import click

from controlplane.cli.client import ROLLOUTS, Api, ApiUnreachable
from controlplane.cli.exits import CommandFailed, Exit
from controlplane.cli.output import print_table, tell
from controlplane.cli.rollout_bars import Show, bars
from controlplane.domain.rollouts import ENDED, RolloutState, TargetState

Json = dict[str, Any]

_POLL_S = 1.0
# How long an API may be away, for example while it is rolled out anew.
_PATIENCE_S = 60.0
_SHOWN = 20


async def watch(api: Api, rollout: Json, *, timeout_s: float | None) -> Json:
    """Show it until it rests; the rollout then. Whoever stops watching is told how to watch on.

    Raises CommandFailed when the time is over.
    """
    try:
        async with asyncio.timeout(timeout_s):
            with bars() as show:
                show(rollout)
                return await _followed(api, rollout, show)
    except TimeoutError:
        raise CommandFailed(
            f"It has not ended after {timeout_s:g} s and goes on. {_HOW}",
            exit_code=Exit.UNFINISHED,
        ) from None
    except asyncio.CancelledError:
        tell(f"\nNot watching any more; the rollout goes on. {_HOW}")
        raise


_HOW = "Watch it by: controlplane rollout watch"


async def _followed(api: Api, rollout: Json, show: Show) -> Json:
    address = f"{ROLLOUTS}/{rollout['id']}"
    while not at_rest(rollout):
        async with contextlib.aclosing(api.lines(f"{address}/events")) as lines:
            async for line in lines:
                rollout = json.loads(line)
                show(rollout)
                if at_rest(rollout):
                    return rollout
        await asyncio.sleep(_POLL_S)
        rollout = await _read(api, address)
        show(rollout)
    return rollout


async def _read(api: Api, address: str) -> Json:
    until = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        try:
            return await api.get(address)
        except ApiUnreachable:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(_POLL_S)


def at_rest(rollout: Json) -> bool:
    """Whether an operator's word is needed, or nothing is left to do."""
    return rollout["state"] in {*ENDED, RolloutState.HALTED}


async def conclude(api: Api, rollout: Json) -> None:
    """Say who failed. Raises CommandFailed for a rollout that did not succeed."""
    if rollout["state"] == RolloutState.SUCCEEDED:
        skipped = sum(ring["skipped"] for ring in rollout["rings"])
        tell(f"Succeeded; {skipped} skipped." if skipped else "Succeeded.")
        return
    await print_failed(api, rollout)
    raise CommandFailed(f"The rollout {_ENDS[rollout['state']]}")


_ENDS = {
    RolloutState.HALTED: "was halted. See to the tenants that failed, then: controlplane rollout"
    " retry (or resume, which leaves them as they are).",
    RolloutState.INCOMPLETE: "has ended, but for the tenants that failed. See to them, then:"
    " controlplane rollout retry.",
    RolloutState.CANCELLED: "was cancelled.",
}


async def print_failed(api: Api, rollout: Json, state: TargetState = TargetState.FAILED) -> None:
    """A table of the tenants that failed, or are in another state, if there are any; the first of
    them."""
    page = await api.get(f"{ROLLOUTS}/{rollout['id']}/targets", state=state, limit=_SHOWN)
    rows = [
        (
            t["subdomain"],
            t["ring"],
            str(t["attempt"]),
            f"{t['error']['detail']} [{t['error']['code']}]",
        )
        for t in page["items"]
    ]
    if rows:
        click.echo()
        print_table((state.upper(), "RING", "TRIES", "WHY"), rows, wraps="WHY")
    if page["next_after"]:
        tell(f"These are the first {_SHOWN}; --output json tells how many there are.")
