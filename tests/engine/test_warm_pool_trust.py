"""What of the warm pool's own rows and stamps is not to be believed."""

from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest

from controlplane.domain.naming import SchemaName, parse_subdomain, schema_name
from controlplane.errors import SchemaConflict
from controlplane.store import tenants, warm_schemas
from controlplane.tenancy.contents import leaned_upon
from controlplane.tenancy.stamp import stamps
from tests.engine.ground import Ground
from tests.engine.lab import Lab
from tests.engine.pools import emptied, filled, oid, pool_of, ready, settled
from tests.engine.world import fingerprint

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lab(ground: Ground) -> AsyncIterator[Lab]:
    async with ground.anew():
        yield ground.lab


async def test_what_a_tenant_has_had_goes_to_nobody_though_a_backup_brings_its_row_back(lab):
    (made,) = await filled(lab, 1)
    kept = (await lab.sql("SELECT to_json(w)::text AS row FROM public.warm_schemas w"))[0].row
    assert (await lab.settle(await lab.create("acme", warm=True))).tenant_id == made
    before = await fingerprint(lab, made)
    back = "SELECT * FROM json_populate_record(null::public.warm_schemas, CAST(:row AS json))"
    await lab.sql(f"INSERT INTO public.warm_schemas {back}", row=kept)

    assert await taken(lab) is None
    await rename(lab, made, to=NOBODY)
    try:
        assert await taken(lab) is None
        await emptied(lab)
    finally:
        await rename(lab, NOBODY, to=made)

    assert await fingerprint(lab, made) == before


NOBODY = UUID(int=1)


async def taken(lab: Lab) -> warm_schemas.Claimed | None:
    async with lab.parts.control.connect() as conn:
        return await warm_schemas.claim(conn, lab.recipe)


async def rename(lab: Lab, tenant_id: UUID, *, to: UUID) -> None:
    async with await psycopg.AsyncConnection.connect(lab.database.superuser_url) as conn:
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("UPDATE public.tenants SET id = %s WHERE id = %s", [to, tenant_id])


async def test_what_an_older_release_cleans_up_is_not_handed_out(lab):
    """It knows no pool, and takes the schema for an orphan."""
    (made,) = await filled(lab, 1)
    assert await taken(lab) is not None
    async with lab.parts.owner.begin() as conn:
        await tenants.add_tombstone(
            conn, tenant_id=made, subdomain=parse_subdomain(f"orphan-{made.hex[:12]}")
        )
    assert await taken(lab) is None
    await emptied(lab)


async def test_a_function_or_type_that_somebody_changed_is_told(lab):
    (made,) = await filled(lab, 1)
    name = schema_name(made)
    await lab.sql(
        f"CREATE FUNCTION {name}.f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        f"CREATE TYPE {name}.e AS ENUM ('a'); CREATE DOMAIN {name}.d AS int"
    )
    told = [await stamp(lab, made)]
    for change in (
        "FUNCTION {}.f() SECURITY DEFINER",
        "TYPE {}.e ADD VALUE 'b'",
        "DOMAIN {}.d ADD CHECK (VALUE > 0)",
    ):
        await lab.sql(f"ALTER {change.format(name)}")
        told.append(await stamp(lab, made))
    assert len(set(told)) == len(told)
    await emptied(lab)


async def stamp(lab: Lab, tenant_id: UUID) -> str:
    async with lab.parts.owner.begin() as conn:
        return (await stamps(conn, [schema_name(tenant_id)]))[schema_name(tenant_id)]


async def test_one_that_somebody_has_built_upon_is_given_up_and_goes_once_he_lets_it(lab):
    """Whoever got it could not be undone before."""
    (made,) = await filled(lab, 1)
    name, pool = schema_name(made), pool_of(lab, 1)
    await lab.sql("CREATE SCHEMA built")
    try:
        await lab.sql(f"CREATE VIEW built.it AS TABLE {name}.users")
        await pool.look()
        assert await ready(lab) == set()
        assert await pool.turn()
        with pytest.raises(SchemaConflict, match=r"depends on it: view built\.it\. Remove that"):
            await pool.turn()
        assert await leans(lab, name)
        for statement in ("it (id uuid REFERENCES {}.users)", "it () INHERITS ({}.users)"):
            await lab.sql("DROP SCHEMA built CASCADE; CREATE SCHEMA built")
            assert not await leans(lab, name)
            await lab.sql(f"CREATE TABLE built.{statement.format(name)}")
            assert await leans(lab, name)
    finally:
        await lab.sql("DROP SCHEMA built CASCADE")
    await settled(pool)
    assert await oid(lab, made) is None
    await emptied(lab)


async def leans(lab: Lab, schema: SchemaName) -> bool:
    async with lab.parts.owner.connect() as conn:
        return schema in await leaned_upon(conn, [schema])
