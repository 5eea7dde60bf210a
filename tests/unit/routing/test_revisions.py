from uuid import uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import MissingTenantContext, TenantMigrating
from controlplane.routing import Revisions, RoutedTenant, Tenancy, tenant_scope
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


def _revisions(folder):
    for name, down in (("own_0001", None), ("own_0002", "own_0001")):
        (folder / f"{name}.py").write_text(f"revision = {name!r}\ndown_revision = {down!r}\n")
    return Revisions.read(folder)


def test_app_code_asks_whether_the_current_tenant_is_at_a_revision(tmp_path):
    revisions = _revisions(tmp_path)
    seen = {}
    for name, at in {"acme": "core_0003,own_0001", "globex": "core_0003,own_0002"}.items():
        tenant = RoutedTenant(uuid4(), name, name, TenantState.ACTIVE, "starter", at)
        with tenant_scope(tenant):
            seen[name] = revisions.reached("own_0002")
        assert revisions.reached("own_0002", tenant) is seen[name]
    assert seen == {"acme": False, "globex": True}
    with pytest.raises(MissingTenantContext):
        revisions.reached("own_0002")
    with pytest.raises(ValueError, match="own_0003"):
        revisions.since("own_0003")


def test_what_lies_since_a_revision_is_served_and_no_other(tmp_path):
    serves = _revisions(tmp_path).since("own_0002")
    for at in ("core_0003,own_0002", "core_0003,own_0009"):
        refuse_unserved(at, serves)
    for older in ("core_0003,own_0001", None):
        with pytest.raises(TenantMigrating):
            refuse_unserved(older, serves)


def test_a_folder_without_revisions_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no revision"):
        Revisions.read(tmp_path)
