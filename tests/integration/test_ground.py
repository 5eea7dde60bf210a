"""The ground of the engine's tests: what one of them changes, the next one does not find."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.provisioning.plans import SUSPEND
from tests.engine.ground import open_ground
from tests.engine.plans_under_test import SCENARIOS

pytestmark = [pytest.mark.anyio]

(SCENARIO,) = [scenario for scenario in SCENARIOS if scenario.plan == SUSPEND]
CHANGES = (
    "UPDATE {it}.users SET name = name",
    "GRANT TRUNCATE ON {it}.roles TO {it}",
    "ALTER POLICY tenant_rows ON {it}.roles USING (true)",
    "ALTER TABLE {it}.users ALTER name SET DEFAULT 'Ada'",
    "CREATE VIEW {it}.seen AS SELECT 1 AS n",
    "CREATE FUNCTION {it}.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER ROLE {it} LOGIN",
    "REVOKE {it} FROM cp_app GRANTED BY cp_owner",
)


async def test_what_was_prepared_is_had_again_as_it_was_until_its_schema_changes(server, tmp_path):
    async with open_ground(server, tmp_path) as ground:
        for change in CHANGES:
            tenant_id = await ground.prepare(SCENARIO)
            assert tenant_id is not None
            before = await _rows(ground)
            asked = await SCENARIO.ask(ground.lab, tenant_id)
            assert (await ground.lab.settle(asked)).state == "succeeded"
            assert await _rows(ground) != before

            assert await ground.prepare(SCENARIO) == tenant_id
            assert await _rows(ground) == before

            name = Identifier(schema_name(tenant_id))
            await ground.superuser.execute(SQL(change).format(it=name))
            assert await ground.prepare(SCENARIO) != tenant_id, change


async def test_a_table_that_a_test_leaves_behind_is_told(server, tmp_path):
    async with open_ground(server, tmp_path) as ground:
        await ground.superuser.execute("CREATE TABLE public.left_behind ()")
        with pytest.raises(psycopg.errors.RaiseException, match="left_behind"):
            await ground.forget()


async def _rows(ground):
    return [
        await ground.lab.sql(f"SELECT t::text FROM public.{table} t ORDER BY 1")  # noqa: S608  literals
        for table in ("tenants", "operations", "operation_steps", "tenant_resources", "audit_log")
    ]
