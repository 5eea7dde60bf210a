"""Accepting a request once, however often it is sent, and answering with its operation."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import OperationState
from controlplane.store import idempotency, operations
from controlplane.store.operations import OperationView
from controlplane.web.api.views import OPERATIONS, TENANTS, OperationBody, operation_body
from controlplane.web.request import ApiRequest

Ask = Callable[[AsyncConnection], Awaitable[OperationView]]


async def once(request: ApiRequest, key: str | None, ask: Ask) -> OperationView:
    """What `ask` answers or, with a key that was used before, the operation that was answered then.

    All of it is one transaction. Raises IdempotencyKeyReused, IdempotencyInFlight and what `ask`
    raises.
    """
    mark = idempotency.fingerprint(request.method, request.scope["path"], await request.body())
    principal = request.user.id
    async with request.parts.control.begin() as conn:
        if key is None:
            return await ask(conn)
        earlier = await idempotency.earlier(conn, principal=principal, key=key, mark=mark)
        if earlier is not None:
            return await operations.get(conn, earlier)
        view = await ask(conn)
        await idempotency.remember(
            conn, principal=principal, key=key, mark=mark, operation_id=view.id
        )
        return view


def accepted(view: OperationView) -> Response[OperationBody]:
    """202 with the operation and where it is found."""
    return Response(
        operation_body(view),
        status_code=202,
        headers={"location": f"{OPERATIONS}/{view.id}", "retry-after": "1"},
    )


def waited(view: OperationView, wait_s: int) -> Response[OperationBody]:
    """201 with the new tenant's address where the operation has succeeded, else 202."""
    headers: dict[str, Any] = {"preference-applied": f"wait={wait_s}"}
    if view.state is not OperationState.SUCCEEDED:
        answer = accepted(view)
        answer.headers.update(headers)
        return answer
    headers["location"] = f"{TENANTS}/{view.tenant_id}"
    return Response(operation_body(view), status_code=201, headers=headers)
