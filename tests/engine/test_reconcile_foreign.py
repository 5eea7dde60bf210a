"""What is not ours is neither listed nor touched, whatever it is called."""

from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from controlplane.domain.dns import record_for
from controlplane.domain.naming import Mark, Subdomain, schema_name
from tests.engine.lab import open_lab
from tests.engine.looking import failed, listed, mark, repaired
from tests.engine.plans_under_test import plant
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_what_is_foreign_is_never_listed_and_never_touched(lab, other_database):
    """Schemas and roles of a tenant's name without a mark, with a wrong one, with another's."""
    tenant_id = await failed(lab, "acme")
    lab.dns.place_foreign("initech")
    theirs = Mark(other_database.installation, uuid4(), uuid4())
    await lab.dns.ensure(record_for(Subdomain("theirs"), "192.0.2.7"), theirs)
    ours = f"controlplane/{lab.parts.installation}"
    foreign = {
        schema_name(tenant_id): None,
        schema_name(uuid4()): "a mark of nobody's",
        schema_name(uuid4()): f"{ours}/{tenant_id}/{tenant_id}",
        schema_name(uuid4()): f"{ours}/not-a-mark",
        schema_name(theirs.tenant): str(theirs),
        f"x{schema_name(uuid4())}": f"{ours}/{tenant_id}/{tenant_id}",
    }
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        for name in foreign:
            conn.execute(sql.SQL("CREATE SCHEMA {0}; CREATE ROLE {0}").format(sql.Identifier(name)))
        try:
            for name, comment in foreign.items():
                await mark(lab, name, ["schema", "role"], comment)
            assert await listed(lab) == set()
            # Beside them, something of ours that does go.
            await plant(lab, (stranger := uuid4()), "schema", "role", record="orphan")
            await repaired(lab)

            names = "SELECT nspname FROM pg_namespace JOIN pg_roles ON rolname = nspname"
            assert {name for (name,) in conn.execute(names)} >= foreign.keys()
            assert schema_name(stranger) not in {name for (name,) in conn.execute(names)}
            assert (lab.dns.records["theirs"].mark, lab.dns.foreign) == (
                theirs,
                {"initech": "192.0.2.1"},
            )
        finally:
            for name in foreign:
                conn.execute(sql.SQL("DROP SCHEMA {0}; DROP ROLE {0}").format(sql.Identifier(name)))


async def test_two_installations_list_and_remove_their_own_orphans_only(
    database, other_database, tmp_path
):
    async with (
        open_lab(database, tmp_path, real_files=True) as ours,
        open_lab(other_database, tmp_path, real_files=True) as theirs,
    ):
        globex = await theirs.active("globex")
        before = await fingerprint(theirs, globex)
        mine, other = uuid4(), uuid4()
        await plant(ours, mine, "schema", "role", record="acme")
        await plant(theirs, other, "schema", "role", record="hooli")

        assert await listed(theirs) == orphans(other, "hooli")
        assert await listed(ours) == orphans(mine, "acme")
        assert len(await repaired(ours)) == 1

        assert await listed(ours) == set()
        assert await listed(theirs) == orphans(other, "hooli")
        assert await fingerprint(theirs, globex) == before
        await assert_world(ours)
        assert len(await repaired(theirs)) == 1
        await assert_world(theirs)


def orphans(tenant_id: UUID, record: str) -> set[tuple[str, str]]:
    return {
        ("schema_without_tenant", schema_name(tenant_id)),
        ("role_without_tenant", schema_name(tenant_id)),
        ("record_without_tenant", record),
    }
