from uuid import UUID

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantNotFound, TenantNotReady, TenantSuspended
from controlplane.routing import RoutedTenant
from controlplane.routing.answers import admitted


def _acme(state):
    return RoutedTenant(UUID(int=1), "acme", "Acme", state, "starter", "abc")


def test_an_active_tenant_is_admitted():
    acme = _acme(TenantState.ACTIVE)
    assert admitted(acme, asked_for="at 'acme'") is acme


@pytest.mark.parametrize(
    ("state", "error", "status", "code", "retry_after"),
    [
        ("suspended", TenantSuspended, 403, "tenant_suspended", None),
        ("provisioning", TenantNotReady, 503, "tenant_not_ready", 2),
        ("deleting", TenantNotFound, 404, "tenant_not_found", None),
        ("deleted", TenantNotFound, 404, "tenant_not_found", None),
        ("purging", TenantNotFound, 404, "tenant_not_found", None),
        ("purged", TenantNotFound, 404, "tenant_not_found", None),
        ("failed", TenantNotFound, 404, "tenant_not_found", None),
    ],
)
def test_every_other_state_has_its_answer(state, error, status, code, retry_after):
    with pytest.raises(error) as caught:
        admitted(_acme(TenantState(state)), asked_for="at 'acme'")
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.retry_after == retry_after


def test_a_deleted_tenant_cannot_be_told_from_one_that_never_was():
    with pytest.raises(TenantNotFound) as deleted:
        admitted(_acme(TenantState.DELETED), asked_for="at 'acme'")
    with pytest.raises(TenantNotFound) as unknown:
        admitted(None, asked_for="at 'acme'")
    assert str(deleted.value) == str(unknown.value)
