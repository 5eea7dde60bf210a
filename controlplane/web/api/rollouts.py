"""/api/admin/rollouts"""

from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.rollouts import Ask, TargetState
from controlplane.errors import IdempotencyKeyReused, OtherRelease
from controlplane.fleet import planning, requests
from controlplane.fleet.planning import RolloutPlan
from controlplane.store import idempotency, rollout_progress, rollouts
from controlplane.store.rollouts import Request
from controlplane.store.urls import sqlalchemy_url
from controlplane.web import paging
from controlplane.web.api.bodies import require_flags
from controlplane.web.api.headers import idempotency_key as parsed_key
from controlplane.web.api.parameters import Cursor, IdempotencyKey, Limit
from controlplane.web.api.rollout_bodies import (
    ROLLOUTS,
    PlanBody,
    PolicyBody,
    RolloutBody,
    RolloutPage,
    TargetPage,
    plan_body,
    rollout_body,
    target_body,
)
from controlplane.web.auth import super_admins_only
from controlplane.web.openapi import LOCATION, problems
from controlplane.web.request import ApiRequest, reading
from controlplane.web.watch_rollout import look, stream

# `state` as a parameter's name is Litestar's own.
InState = Annotated[TargetState | None, QueryParameter(name="state")]


@post(
    "/plan",
    operation_id="planRollout",
    summary="Say what a rollout would do",
    status_code=200,
    guards=[super_admins_only],
    responses=problems(401, 403, 409, 413, 415, 422),
)
async def plan_rollout(request: ApiRequest, data: JSONBody[PolicyBody]) -> PlanBody:
    """Who would be upgraded in which ring, by which SQL, at what price. A schema is made from the
    template and undone; nothing else is touched. A template that cannot be rolled out is 409
    `rollout_refused`."""
    require_flags(await request.json(), "rest")
    async with reading(request.parts) as conn:
        return plan_body(await _plan(request, conn, data))


async def _plan(request: ApiRequest, conn: AsyncConnection, data: PolicyBody) -> RolloutPlan:
    parts = request.parts
    if data.template_digest not in (None, parts.template.digest):
        raise OtherRelease(
            "This API is of another release: its tenant template is not the one that is meant."
        )
    app_url = parts.settings.app_database_url.get_secret_value()
    return await planning.plan(
        conn,
        template=parts.template,
        policy=data.parsed(),
        owner=parts.owner,
        installation=parts.installation,
        app_login=sqlalchemy_url(app_url).username or "",
        to=data.to,
        served=parts.settings.served_revisions,
    )


@post(
    "/",
    operation_id="startRollout",
    summary="Upgrade every schema that is behind",
    status_code=202,
    guards=[super_admins_only],
    response_headers=[LOCATION],
    responses=problems(401, 403, 409, 413, 415, 422),
)
async def start_rollout(
    request: ApiRequest, data: JSONBody[PolicyBody], idempotency_key: IdempotencyKey = None
) -> Response[RolloutBody]:
    """Begin to upgrade, ring by ring, every tenant's schema that is behind this release's template, or
    with `to` to bring those past an older revision back to it. What a plan refuses is refused here as
    well. One rollout runs at a time. 409 `other_release` is for a caller that names its template, as a
    release's job does: the replica asked is not of that release."""
    require_flags(await request.json(), "rest")
    key = parsed_key(idempotency_key)
    mark = idempotency.fingerprint(request.method, request.scope["path"], await request.body())
    begun = await _earlier(request, key, mark)
    if begun is None:
        async with reading(request.parts) as conn:
            plan = await _plan(request, conn, data)
        begun = await _start(request, plan, key, mark)
    return Response(
        await look(request.parts, begun),
        status_code=202,
        headers={"location": f"{ROLLOUTS}/{begun}", "retry-after": "1"},
    )


async def _earlier(request: ApiRequest, key: str | None, mark: bytes) -> UUID | None:
    if key is None:
        return None
    async with reading(request.parts) as conn:
        return await _same(conn, request.user.id, key, mark)


async def _same(conn: AsyncConnection, principal: UUID, key: str, mark: bytes) -> UUID | None:
    found = await rollouts.of_request(conn, principal, key)
    if found is None:
        return None
    rollout_id, first = found
    if first != mark:
        raise IdempotencyKeyReused("Send another Idempotency-Key with another request.")
    return rollout_id


async def _start(request: ApiRequest, plan: RolloutPlan, key: str | None, mark: bytes) -> UUID:
    principal = request.user.id
    async with request.parts.control.begin() as conn:
        if key is not None:
            await idempotency.hold(conn, principal=principal, key=key)
            earlier = await _same(conn, principal, key, mark)
            if earlier is not None:
                return earlier
        rollout = await requests.start(
            conn,
            revision=plan.revision,
            digest=plan.digest,
            policy=plan.policy,
            starts=plan.starts,
            actor=request.actor,
            request=Request(principal, key, mark) if key is not None else None,
        )
    return rollout.id


@get(
    "/",
    operation_id="listRollouts",
    summary="List rollouts",
    responses=problems(401, 403, 422),
)
async def list_rollouts(
    request: ApiRequest, limit: Limit = paging.USUAL, cursor: Cursor = None
) -> RolloutPage:
    """Rollouts, newest first."""
    after = paging.decode_cursor(cursor) if cursor is not None else None
    async with reading(request.parts) as conn:
        found = await rollouts.page(conn, limit=limit + 1, after=after)
        page, next_cursor = paging.cut(found, limit)
        template = request.parts.template
        shown = [
            rollout_body(each, await rollout_progress.of(conn, each), template) for each in page
        ]
    return RolloutPage(shown, next_cursor)


@get(
    "/{rollout_id:uuid}",
    operation_id="getRollout",
    summary="Show a rollout",
    responses=problems(401, 403, 404, 422),
)
async def get_rollout(request: ApiRequest, rollout_id: FromPath[UUID]) -> RolloutBody:
    """A rollout, and how far each of its rings is."""
    return await look(request.parts, rollout_id)


@get(
    "/{rollout_id:uuid}/targets",
    operation_id="listRolloutTargets",
    summary="List the tenants of a rollout",
    responses=problems(401, 403, 404, 422),
)
async def list_targets(
    request: ApiRequest,
    rollout_id: FromPath[UUID],
    limit: Limit = paging.USUAL,
    in_state: InState = None,
    after: FromQuery[UUID | None] = None,
) -> TargetPage:
    """The tenants of a rollout by id, and why one failed, was skipped or waits."""
    states = [in_state] if in_state is not None else [*TargetState]
    async with reading(request.parts) as conn:
        rollout = await rollouts.get(conn, rollout_id)
        found = await rollouts.targets(
            conn, rollout_id, states=states, limit=limit + 1, after=after
        )
    page = found[:limit]
    next_after = page[-1].tenant_id if len(found) > limit else None
    return TargetPage([target_body(target, rollout) for target in page], next_after)


@get(
    "/{rollout_id:uuid}/events",
    operation_id="watchRollout",
    summary="Follow a rollout",
    media_type="text/event-stream",
    responses=problems(401, 403, 404, 422),
)
async def watch_rollout(request: ApiRequest, rollout_id: FromPath[UUID]) -> Stream:
    """Server-sent events of type `rollout`: the whole of it, whenever something has changed, until
    it has ended."""
    await look(request.parts, rollout_id)
    return Stream(
        stream(request.parts, request.hub, rollout_id),
        media_type="text/event-stream",
        # nginx would hold the events back until its buffer is full.
        headers={"x-accel-buffering": "no"},
    )


async def _ask(request: ApiRequest, rollout_id: UUID, what: Ask) -> RolloutBody:
    async with request.parts.control.begin() as conn:
        rollout = await requests.ask(conn, rollout_id, what, actor=request.actor)
        return rollout_body(
            rollout, await rollout_progress.of(conn, rollout), request.parts.template
        )


_HELP = {
    Ask.PAUSE: ("Pause a rollout", "Begin no further upgrade; those under way end."),
    Ask.RESUME: (
        "Resume a paused or halted rollout",
        "Go on. Of a halted one, what failed is left as it is, and its budget begins anew.",
    ),
    Ask.RETRY: (
        "Upgrade again what failed",
        "Put the failed tenants, and no others, back among those that are to be upgraded, and go on.",
    ),
    Ask.CANCEL: (
        "Cancel a rollout",
        "End it for good. Who was upgraded stays so; another rollout takes up who was not.",
    ),
}


def _asking(what: Ask) -> HTTPRouteHandler:
    summary, description = _HELP[what]

    @post(
        f"/{{rollout_id:uuid}}/{what}",
        operation_id=f"{what}Rollout",
        summary=summary,
        description=description,
        status_code=200,
        guards=[super_admins_only],
        responses=problems(401, 403, 404, 409, 413, 422),
    )
    async def ask(request: ApiRequest, rollout_id: FromPath[UUID]) -> RolloutBody:
        return await _ask(request, rollout_id, what)

    return ask


router = Router(
    path="/rollouts",
    tags=["rollouts"],
    route_handlers=[
        plan_rollout,
        start_rollout,
        list_rollouts,
        get_rollout,
        list_targets,
        watch_rollout,
        *map(_asking, Ask),
    ],
)
