"""A release's own rollout: begun by a job that starts while replicas of the release before are still there."""

import asyncio
from collections.abc import Mapping
from typing import Any

from controlplane.cli.client import ROLLOUTS, Api, ApiRefused, ApiUnreachable
from controlplane.cli.output import tell
from controlplane.domain.rollouts import ENDED
from controlplane.errors import OtherRelease, RolloutInProgress

Json = dict[str, Any]

_POLL_S = 2.0
_AWAY = 503


async def begin(
    api: Api, policy: Mapping[str, Any], *, template_digest: str, patience_s: float
) -> Json:
    """The rollout of the release with this template: begun, or found under way, for a job may be
    started again. The API may be away for `patience_s`, or of another release. Raises ApiRefused and
    ApiUnreachable."""
    clock = asyncio.get_running_loop().time
    until, told = clock() + patience_s, False
    while True:
        try:
            return await _begun(api, {**policy, "template_digest": template_digest})
        except (ApiRefused, ApiUnreachable) as error:
            if not _passes(error) or clock() >= until:
                raise
            if not told:
                tell(f"Waiting for the release's API. {error}")
                told = True
        await asyncio.sleep(_POLL_S)


def _passes(error: ApiRefused | ApiUnreachable) -> bool:
    if isinstance(error, ApiUnreachable):
        return True
    problem = error.problem
    # A release that does not know the field yet refuses it.
    unknown = any(fault["pointer"] == "/template_digest" for fault in problem.get("errors", ()))
    return unknown or problem.get("code") == OtherRelease.code or problem.get("status") == _AWAY


async def _begun(api: Api, body: Json) -> Json:
    try:
        return await api.post(ROLLOUTS, body)
    except ApiRefused as error:
        if error.problem.get("code") != RolloutInProgress.code:
            raise
        (newest,) = await api.items(ROLLOUTS, 1)
        # One to an older revision is of the same template, and the opposite of what is meant.
        if newest["back"] or newest["template_digest"] != body["template_digest"]:
            raise
        if newest["state"] in ENDED:
            # Since a moment ago: there is room for another, which finds who is left.
            return await api.post(ROLLOUTS, body)
        tell("It has begun already.")
        return newest
