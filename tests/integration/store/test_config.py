"""What an operator may change at run time is typed, has a default and refuses what it is not."""

import pytest
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import parse_subdomain
from controlplane.domain.tenants import Tier
from controlplane.errors import ValidationFailed
from controlplane.provisioning import requests
from controlplane.provisioning.requests import NewTenant
from controlplane.store import config, tenants
from controlplane.store.config import DEFAULT_TIER
from controlplane.store.tables import system_config
from tests.integration.store.conftest import ADMIN

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_a_fresh_installation_has_the_default(conn: AsyncConnection) -> None:
    assert await config.read(conn, DEFAULT_TIER) is Tier.STARTER


async def test_a_missing_row_means_the_default(conn: AsyncConnection) -> None:
    await conn.execute(delete(system_config))
    assert await config.read(conn, DEFAULT_TIER) is Tier.STARTER


@pytest.mark.parametrize("there", [True, False])
async def test_what_was_written_is_read(conn: AsyncConnection, *, there: bool) -> None:
    if not there:
        await conn.execute(delete(system_config))
    await config.write(conn, "default_subscription_tier", "enterprise")
    assert await config.read(conn, DEFAULT_TIER) is Tier.ENTERPRISE


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("default_subscription_teir", "starter", "unknown_key"),
        ("", "starter", "unknown_key"),
        ("default_subscription_tier", "platinum", "invalid_value"),
        ("default_subscription_tier", "", "invalid_value"),
        ("default_subscription_tier", 1, "invalid_value"),
        ("default_subscription_tier", None, "invalid_value"),
        ("default_subscription_tier", ["starter"], "invalid_value"),
    ],
)
async def test_an_unknown_key_or_a_value_that_does_not_fit_is_refused(
    conn: AsyncConnection, name: str, value: object, code: str
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await config.write(conn, name, value)
    assert [fault.code for fault in caught.value.faults] == [code]
    assert await config.read(conn, DEFAULT_TIER) is Tier.STARTER


async def test_a_value_that_was_written_past_us_is_refused_by_name(conn: AsyncConnection) -> None:
    await conn.execute(update(system_config).values(value="platinum"))
    with pytest.raises(ValidationFailed, match="'default_subscription_tier' cannot be 'platinum'"):
        await config.read(conn, DEFAULT_TIER)


@pytest.mark.parametrize(
    ("asked", "given"), [(None, Tier.PROFESSIONAL), (Tier.STARTER, Tier.STARTER)]
)
async def test_a_tenant_that_names_no_tier_gets_the_default_of_the_moment(
    conn: AsyncConnection, asked: Tier | None, given: Tier
) -> None:
    await config.write(conn, "default_subscription_tier", "professional")
    wanted = NewTenant("Acme", parse_subdomain("acme"), "ada@acme.test", tier=asked)
    operation = await requests.create_tenant(conn, wanted, actor=ADMIN, deadline_s=60)
    assert (await tenants.get(conn, operation.tenant_id)).tier is given
