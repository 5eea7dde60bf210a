"""Only what carries our mark is ever destroyed."""

from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.errors import SchemaConflict
from controlplane.tenancy.drop import drop
from tests.integration.tenancy.places import plain

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _drop(place, tenant_id, mark=None):
    async with place.owner() as conn:
        await drop(conn, tenant_id=tenant_id, mark=mark or place.mark(tenant_id))


async def test_a_tenant_goes_with_its_rows_and_role(place, template):
    tenant_id, neighbour = await place.tenant(template), await place.tenant(template)
    await _drop(place, tenant_id)
    assert place.names(tenant_id) == (False, False)
    assert place.names(neighbour) == (True, True)


async def test_what_is_absent_is_dropped_already(place, template):
    tenant_id = await place.tenant(template)
    await _drop(place, tenant_id)
    await _drop(place, tenant_id)
    await _drop(place, uuid4())
    assert place.names(tenant_id) == (False, False)


async def test_another_installations_tenant_stays(place, template):
    tenant_id = await place.tenant(template)
    await _drop(place, tenant_id, replace(place.mark(tenant_id), installation=uuid4()))
    assert place.names(tenant_id) == (True, True)


async def test_a_schema_without_a_mark_stays(place, template):
    tenant_id = await place.tenant(template)
    with place.superuser() as connection:
        name = Identifier(schema_name(tenant_id))
        connection.execute(SQL("COMMENT ON SCHEMA {} IS NULL").format(name))
    # The role is ours still, but the schema uses it: nothing may go by halves.
    with pytest.raises(SchemaConflict, match="privileges for schema"):
        await _drop(place, tenant_id)
    assert place.names(tenant_id) == (True, True)


async def test_a_tenant_whose_role_a_session_is_using_can_be_dropped(place, template):
    tenant_id = await place.tenant(template)
    with psycopg.connect(plain(place.app_url)) as connection:
        connection.execute(SQL("SET ROLE {}").format(Identifier(schema_name(tenant_id))))
        connection.commit()
        await _drop(place, tenant_id)
        assert place.names(tenant_id) == (False, False)
