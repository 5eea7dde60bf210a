"""What a repair leaves alone."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from controlplane.domain.naming import Mark, parse_subdomain
from controlplane.domain.tenants import FROZEN, Tenant, TenantState, Tier
from controlplane.provisioning.step import Target
from controlplane.provisioning.steps.repair import Upgrade
from controlplane.tenancy.template import load

pytestmark = pytest.mark.anyio


async def test_a_repair_leaves_a_frozen_tenant_at_its_revision():
    tenant = Tenant(
        id=uuid4(),
        name="Acme",
        subdomain=parse_subdomain("acme"),
        state=TenantState.ACTIVE,
        tier=Tier.STARTER,
        admin_email="ada@acme.test",
        admin_name=None,
        revision="core_0001,app_0001",
        version=1,
        created_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
        conditions={FROZEN: {"holds": True, "reason": "audited"}},
    )
    target = Target(tenant, Mark(uuid4(), tenant.id, uuid4()), {}, None)
    # Nothing is asked of the transaction, so there need be none.
    nothing: Any = None
    assert await Upgrade(load()).ensure(nothing, target) == {"revision": tenant.revision}
