"""Jobs name their tenant, and bodies are made in their tenant's scope whoever asks for them."""

import asyncio
import json
from contextvars import Context
from uuid import UUID, uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    MissingTenantContext,
    TenantContextConflict,
    TenantNotFound,
    TenantNotReady,
    TenantSuspended,
)
from controlplane.routing import (
    RoutedTenant,
    current_tenant,
    job_scope,
    job_scope_sync,
    stamped,
    streamed,
    streamed_sync,
    tenant_scope,
)

pytestmark = pytest.mark.anyio


def make(subdomain, state=TenantState.ACTIVE):
    return RoutedTenant(uuid4(), subdomain, subdomain.title(), state, "starter", "abc")


ACME, GLOBEX = make("acme"), make("globex")


class SyncBook:
    """A directory of tenants by id."""

    def __init__(self, *tenants):
        self.tenants = {tenant.id: tenant for tenant in tenants}

    def identify(self, tenant_id: UUID) -> RoutedTenant | None:
        return self.tenants.get(tenant_id)


class Book:
    """The same, asked from a task."""

    def __init__(self, *tenants):
        self._book = SyncBook(*tenants)

    async def identify(self, tenant_id: UUID) -> RoutedTenant | None:
        return self._book.identify(tenant_id)


def scoped_name():
    try:
        return current_tenant().subdomain
    except MissingTenantContext:
        return None


async def entered(message, *tenants, **options):
    """Whose scope the job runs in, by both twins."""
    async with job_scope(message, Book(*tenants), **options) as tenant:
        assert current_tenant() is tenant
    assert scoped_name() is None
    with job_scope_sync(message, SyncBook(*tenants), **options) as same:
        assert current_tenant() is same is tenant
    assert scoped_name() is None
    return tenant


async def test_a_job_runs_in_the_scope_that_it_was_enqueued_in():
    with tenant_scope(ACME):
        sent = json.dumps(stamped({"kind": "report"}))
    assert json.loads(sent) == {"kind": "report", "tenant_id": str(ACME.id)}
    assert await entered(json.loads(sent), GLOBEX, ACME) is ACME
    assert await entered({"tenant_id": GLOBEX.id}, GLOBEX, ACME) is GLOBEX


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"tenant_id": None},
        {"tenant_id": ""},
        {"tenant_id": "acme"},
        {"tenant_id": 7},
        {"tenant_id": [str(ACME.id)]},
        {"tenant_id": str(ACME.id).encode()},
        {"tenant_id": f"{{{ACME.id}}}"},
        {"tenant_id": ACME.id.hex},
        {"tenant_id": f" {ACME.id}"},
        {"tenant": str(ACME.id)},
    ],
)
async def test_a_job_that_does_not_name_its_tenant_is_refused(named):
    with pytest.raises(MissingTenantContext):
        await entered(named, ACME)
    with pytest.raises(MissingTenantContext), job_scope_sync(named, SyncBook(ACME)):
        pass


async def test_a_job_of_an_id_that_nobody_has_is_refused():
    for nobody in (UUID(int=0), uuid4()):
        with pytest.raises(TenantNotFound):
            await entered({"tenant_id": str(nobody)}, ACME)


@pytest.mark.parametrize("state", [state for state in TenantState if state != "active"])
async def test_a_job_of_a_tenant_that_is_not_served_is_refused_unless_asked_for(state):
    tenant = make("initech", state)
    message = {"tenant_id": str(tenant.id)}
    answers = {"suspended": TenantSuspended, "provisioning": TenantNotReady}
    with pytest.raises(answers.get(state, TenantNotFound)):
        await entered(message, tenant)
    assert await entered(message, tenant, also={state}) is tenant


async def test_a_job_of_one_tenant_is_not_begun_in_the_scope_of_another():
    message = {"tenant_id": str(ACME.id)}
    with tenant_scope(GLOBEX):
        with pytest.raises(TenantContextConflict):
            async with job_scope(message, Book(ACME, GLOBEX)):
                pass
        with pytest.raises(TenantContextConflict):
            stamped(message)
        with pytest.raises(TenantContextConflict), job_scope_sync(message, SyncBook(ACME)):
            pass
    with tenant_scope(ACME):
        assert stamped(message) == message


def test_nothing_is_stamped_without_a_tenant():
    with pytest.raises(MissingTenantContext):
        stamped({"kind": "report"})


class Body:
    """Tells whose scope each piece was made in, and the end of it."""

    def __init__(self):
        self.closed_in = "never"

    async def pieces(self, count=3):
        try:
            for _ in range(count):
                await asyncio.sleep(0)
                yield scoped_name()
        finally:
            self.closed_in = scoped_name()

    def pieces_sync(self, count=3):
        try:
            for _ in range(count):
                yield scoped_name()
        finally:
            self.closed_in = scoped_name()


async def each_in_a_task_of_its_own(items):
    """As a server does that knows nothing of the request's context."""
    found: list[str | None] = []
    while True:
        try:
            item = await asyncio.create_task(_next(items), context=Context())
        except StopAsyncIteration:
            return found
        found.append(item)


async def _next(items):
    return await anext(items)


async def test_a_body_is_made_in_its_tenants_scope_whoever_asks_for_the_pieces():
    with tenant_scope(ACME):
        acme, bare = streamed(Body().pieces()), Body().pieces()
    globex = streamed(Body().pieces(), tenant=GLOBEX)
    assert await each_in_a_task_of_its_own(bare) == [None, None, None]
    found: list[str | None] = []
    async for piece in acme:
        found += [piece, scoped_name(), await anext(globex)]
    assert found == ["acme", None, "globex"] * 3
    with tenant_scope(ACME):
        again = streamed(Body().pieces())
    assert await each_in_a_task_of_its_own(again) == ["acme"] * 3


async def test_a_body_that_is_given_up_ends_in_its_tenants_scope():
    body = Body()
    pieces = streamed(body.pieces(), tenant=ACME)
    assert await anext(pieces) == "acme"
    await asyncio.create_task(pieces.aclose(), context=Context())
    assert body.closed_in == "acme"
    assert scoped_name() is None


async def test_a_body_is_not_made_in_the_scope_of_another_tenant():
    body = Body()
    pieces = streamed(body.pieces(), tenant=ACME)
    with tenant_scope(GLOBEX), pytest.raises(TenantContextConflict):
        await anext(pieces)
    with pytest.raises(MissingTenantContext):
        streamed(body.pieces())


async def test_an_iterator_that_cannot_be_closed_is_streamed_too():
    class Twice:
        left = 2

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return scoped_name()

    assert [piece async for piece in streamed(Twice(), tenant=ACME)] == ["acme"] * 2
    assert list(streamed_sync([1, 2], tenant=ACME)) == [1, 2]


def test_threads_have_the_same_bodies():
    body = Body()
    with tenant_scope(ACME):
        acme = streamed_sync(body.pieces_sync())
    globex = streamed_sync(Body().pieces_sync(), tenant=GLOBEX)
    assert [(Context().run(next, acme), scoped_name(), next(globex)) for _ in range(2)] == [
        ("acme", None, "globex")
    ] * 2
    Context().run(acme.close)
    assert body.closed_in == "acme"
    with tenant_scope(GLOBEX), pytest.raises(TenantContextConflict):
        next(streamed_sync(body.pieces_sync(), tenant=ACME))
    with pytest.raises(MissingTenantContext):
        streamed_sync(body.pieces_sync())
