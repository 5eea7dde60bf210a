"""/api/admin/operations"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from controlplane.domain.operations import OperationState
from controlplane.provisioning import requests
from controlplane.store import operations
from controlplane.web import paging
from controlplane.web.accept import accepted
from controlplane.web.api.bodies import AbandonBody
from controlplane.web.api.parameters import Cursor, Limit
from controlplane.web.api.views import OperationBody, OperationPage, operation_body
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest, reading
from controlplane.web.watch import stream

# The largest that every JSON reader takes for what it is.
_LARGEST_SEQ = 2**53 - 1

# `state` as a parameter's name is Litestar's own.
InState = Annotated[OperationState | None, QueryParameter(name="state")]
LastEventId = Annotated[
    int | None,
    HeaderParameter(
        name="Last-Event-ID",
        ge=0,
        le=_LARGEST_SEQ,
        # Litestar loses a bound that is nought.
        schema_extra={"minimum": 0},
        description="The number of the last event that the client has. Goes before `after`.",
    ),
]
After = Annotated[
    int,
    QueryParameter(ge=0, le=_LARGEST_SEQ, description="Leave out events up to this number."),
]


@get(
    "/",
    operation_id="listOperations",
    summary="List operations",
    responses=problems(401, 403, 422),
)
async def list_operations(
    request: ApiRequest,
    limit: Limit = paging.USUAL,
    cursor: Cursor = None,
    tenant_id: FromQuery[UUID | None] = None,
    in_state: InState = None,
) -> OperationPage:
    """Operations, newest first."""
    after = paging.decode_cursor(cursor) if cursor is not None else None
    async with reading(request.parts) as conn:
        found = await operations.page(
            conn, limit=limit + 1, after=after, tenant_id=tenant_id, state=in_state
        )
    page, next_cursor = paging.cut(found, limit)
    return OperationPage([operation_body(view) for view in page], next_cursor)


@get(
    "/{operation_id:uuid}",
    operation_id="getOperation",
    summary="Show an operation",
    responses=problems(401, 403, 404, 422),
)
async def get_operation(request: ApiRequest, operation_id: FromPath[UUID]) -> OperationBody:
    """An operation with its steps."""
    async with reading(request.parts) as conn:
        return operation_body(await operations.get(conn, operation_id))


@get(
    "/{operation_id:uuid}/events",
    operation_id="watchOperation",
    summary="Follow an operation",
    media_type="text/event-stream",
    responses=problems(401, 403, 404, 422),
)
async def watch_operation(
    request: ApiRequest,
    operation_id: FromPath[UUID],
    last_event_id: LastEventId = None,
    after: After = 0,
) -> Stream:
    """The operation's events as server-sent events, from the first or from behind a number, until
    it has ended. `id` is the event's number, `event` its type, `data` JSON."""
    async with reading(request.parts) as conn:
        await operations.get(conn, operation_id)
    seen = after if last_event_id is None else last_event_id
    return Stream(
        stream(request.parts, request.hub, operation_id, after=seen),
        media_type="text/event-stream",
        # nginx would hold the events back until its buffer is full.
        headers={"x-accel-buffering": "no"},
    )


@post(
    "/{operation_id:uuid}/cancel",
    operation_id="cancelOperation",
    summary="Cancel an operation",
    status_code=202,
    responses=problems(401, 403, 404, 409, 413, 422),
)
async def cancel_operation(
    request: ApiRequest, operation_id: FromPath[UUID]
) -> Response[OperationBody]:
    """Ask an operation that can still be undone to turn round."""
    async with request.parts.control.begin() as conn:
        return accepted(await requests.cancel(conn, operation_id, actor=request.actor))


@post(
    "/{operation_id:uuid}/resume",
    operation_id="resumeOperation",
    summary="Resume a parked operation",
    status_code=202,
    responses=problems(401, 403, 404, 409, 413, 422),
)
async def resume_operation(
    request: ApiRequest, operation_id: FromPath[UUID]
) -> Response[OperationBody]:
    """Let a parked operation go on with a fresh budget."""
    async with request.parts.control.begin() as conn:
        return accepted(await requests.resume(conn, operation_id, actor=request.actor))


@post(
    "/{operation_id:uuid}/abandon",
    operation_id="abandonOperation",
    summary="Abandon a parked operation",
    status_code=202,
    responses=problems(401, 403, 404, 409, 413, 415, 422),
)
async def abandon_operation(
    request: ApiRequest, operation_id: FromPath[UUID], data: JSONBody[AbandonBody]
) -> Response[OperationBody]:
    """End a parked operation as it is. What is left of it stays on record."""
    data.check()
    async with request.parts.control.begin() as conn:
        view = await requests.abandon(
            conn,
            operation_id,
            reason=data.reason,
            comment=data.comment,
            by=request.user.email,
            quarantine=timedelta(days=request.parts.settings.quarantine_days),
            actor=request.actor,
        )
    return accepted(view)


router = Router(
    path="/operations",
    tags=["operations"],
    route_handlers=[
        list_operations,
        get_operation,
        watch_operation,
        cancel_operation,
        resume_operation,
        abandon_operation,
    ],
)
