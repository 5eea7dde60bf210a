from uuid import uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantMigrating
from controlplane.routing import RoutedTenant, Tenancy
from controlplane.routing.revisions import refuse_unserved

pytestmark = pytest.mark.anyio


class _NoPool:
    """Nothing may be asked of a database."""

    def connection(self):
        pytest.fail("asked")


def test_a_set_names_what_is_served_and_a_function_decides():
    for serves in ({"abc", "def"}, lambda revision: revision == "abc", None):
        refuse_unserved("abc", serves)
    for serves in ({"def"}, set(), lambda revision: revision == "def"):
        with pytest.raises(TenantMigrating) as refused:
            refuse_unserved("abc", serves)
        assert (refused.value.status, refused.value.code) == (503, "tenant_migrating")
        assert refused.value.retry_after == 5


@pytest.mark.parametrize("revision", ["old", None])
async def test_a_tenant_at_another_revision_is_refused_before_any_sql(revision):
    tenancy = Tenancy(_NoPool(), serves={"abc"})
    tenant = RoutedTenant(uuid4(), "acme", "Acme", TenantState.ACTIVE, "starter", revision)
    with pytest.raises(TenantMigrating):
        async with tenancy.transaction(tenant):
            pytest.fail("entered")


async def test_of_a_bare_id_nobody_knows_the_revision():
    class Bare:
        id = uuid4()

    with pytest.raises(TenantMigrating):
        async with Tenancy(_NoPool(), serves={"abc"}).transaction(Bare()):
            pytest.fail("entered")
