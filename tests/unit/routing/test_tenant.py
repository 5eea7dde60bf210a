import asyncio
from dataclasses import FrozenInstanceError
from uuid import UUID

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import MissingTenantContext, TenantContextConflict
from controlplane.routing import RoutedTenant, current_tenant, tenant_scope

pytestmark = pytest.mark.anyio

ACME = RoutedTenant(UUID(int=1), "acme", "Acme", TenantState.ACTIVE, "starter", "abc")
GLOBEX = RoutedTenant(UUID(int=2), "globex", "Globex", TenantState.ACTIVE, "starter", "abc")


def test_the_schema_follows_from_the_id():
    assert ACME.schema == "tenant_00000000000000000000000000000001"


def test_a_routed_tenant_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ACME.id = GLOBEX.id  # type: ignore[misc]  # what must fail


def test_no_tenant_is_current_outside_a_scope():
    with pytest.raises(MissingTenantContext):
        current_tenant()


def test_a_scope_may_be_entered_again_for_its_tenant():
    with tenant_scope(ACME):
        with tenant_scope(ACME):
            assert current_tenant() is ACME
        assert current_tenant() is ACME


def test_a_scope_refuses_another_tenant_and_keeps_its_own():
    with tenant_scope(ACME):
        with pytest.raises(TenantContextConflict), tenant_scope(GLOBEX):
            pytest.fail("entered")
        assert current_tenant() is ACME


def test_a_scope_ends_with_its_block_even_on_an_error():
    with pytest.raises(RuntimeError, match="boom"), tenant_scope(ACME):
        raise RuntimeError("boom")
    with tenant_scope(GLOBEX):
        assert current_tenant() is GLOBEX


async def test_tasks_have_their_own_scopes():
    meet = asyncio.Barrier(2)

    async def seen(tenant):
        with tenant_scope(tenant):
            await meet.wait()
            return current_tenant()

    acme, globex = await asyncio.gather(seen(ACME), seen(GLOBEX))
    assert (acme, globex) == (ACME, GLOBEX)
