"""Work outside a request: jobs that a queue brings, and bodies that are made piece by piece.

Whoever enqueues stamps the message, whoever works enters its scope:

    await queue.put(stamped({"kind": "report", "month": "2026-11"}))

    async with job_scope(message, directory):
        async with tenancy.transaction() as conn: ...
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar
from uuid import UUID

from controlplane.domain.tenants import TenantState
from controlplane.errors import MissingTenantContext, TenantContextConflict
from controlplane.routing.answers import admitted
from controlplane.routing.tenant import RoutedTenant, current_tenant, tenant_scope

KEY = "tenant_id"

_T = TypeVar("_T")
_Message = Mapping[str, Any]


class Identifies(Protocol):
    """A TenantDirectory, for one."""

    async def identify(self, tenant_id: UUID) -> RoutedTenant | None: ...


class SyncIdentifies(Protocol):
    """A SyncTenantDirectory, for one."""

    def identify(self, tenant_id: UUID) -> RoutedTenant | None: ...


def stamped(message: _Message) -> dict[str, Any]:
    """The message with the current tenant's id as text, ready for JSON.

    Raises MissingTenantContext outside of a scope, and TenantContextConflict for a message that
    names another tenant already.
    """
    tenant = current_tenant()
    if KEY in message and tenant_id_of(message) != tenant.id:
        raise TenantContextConflict(
            f"The message is tenant {message[KEY]}'s and was stamped in the scope of {tenant.id}."
        )
    return {**message, KEY: str(tenant.id)}


def tenant_id_of(message: _Message) -> UUID:
    """Whose job it is. Raises MissingTenantContext where the message does not name a tenant by a
    UUID as `stamped` writes it: a job without one is nobody's, and there is no default."""
    named = message.get(KEY)
    if isinstance(named, UUID):
        return named
    try:
        found = UUID(named) if isinstance(named, str) else None
    except ValueError:
        found = None
    # UUID() also reads braces, prefixes and misplaced hyphens.
    if found is None or str(found) != named:
        raise MissingTenantContext(f"The job's {KEY!r} must be a tenant's UUID, not {named!r}.")
    return found


@asynccontextmanager
async def job_scope(
    message: _Message, directory: Identifies, *, also: Collection[TenantState] = ()
) -> AsyncIterator[RoutedTenant]:
    """The scope of the tenant whose job it is, as the directory knows it now.

    Raises what a request for that tenant is answered with unless it is active, or in one of the
    states in `also`: TenantNotFound, TenantSuspended, TenantNotReady; TenantUnavailable where that
    cannot be known. Raises MissingTenantContext as `tenant_id_of`, and TenantContextConflict in
    the scope of another tenant. Whether a refused job is kept is the queue's matter.
    """
    tenant_id = tenant_id_of(message)
    tenant = _to_be_served(await directory.identify(tenant_id), tenant_id, also)
    with tenant_scope(tenant):
        yield tenant


@contextmanager
def job_scope_sync(
    message: _Message, directory: SyncIdentifies, *, also: Collection[TenantState] = ()
) -> Iterator[RoutedTenant]:
    """As `job_scope`, for threads."""
    tenant_id = tenant_id_of(message)
    tenant = _to_be_served(directory.identify(tenant_id), tenant_id, also)
    with tenant_scope(tenant):
        yield tenant


def _to_be_served(
    tenant: RoutedTenant | None, tenant_id: UUID, also: Collection[TenantState]
) -> RoutedTenant:
    if tenant is not None and tenant.state in also:
        return tenant
    return admitted(tenant, asked_for=f"with the id {tenant_id}")


def streamed(
    items: AsyncIterable[_T], *, tenant: RoutedTenant | None = None
) -> AsyncGenerator[_T, None]:
    """The same items, each of them made in the tenant's scope, in whatever task they are asked
    for; None means `current_tenant()` at the time of the call.

    For a body that is sent when its request's scope is left. Between two items nobody's scope is
    touched. Raises MissingTenantContext at once, TenantContextConflict where an item is asked for
    in the scope of another tenant.
    """
    return _streamed(aiter(items), tenant or current_tenant())


async def _streamed(items: AsyncIterator[_T], tenant: RoutedTenant) -> AsyncGenerator[_T, None]:
    try:
        while True:
            # Never around the yield: there it would be the scope of whoever asks.
            with tenant_scope(tenant):
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            with tenant_scope(tenant):
                await items.aclose()


def streamed_sync(
    items: Iterable[_T], *, tenant: RoutedTenant | None = None
) -> Generator[_T, None, None]:
    """As `streamed`, for threads."""
    return _streamed_sync(iter(items), tenant or current_tenant())


def _streamed_sync(items: Iterator[_T], tenant: RoutedTenant) -> Generator[_T, None, None]:
    try:
        while True:
            with tenant_scope(tenant):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        if isinstance(items, Generator):
            with tenant_scope(tenant):
                items.close()
