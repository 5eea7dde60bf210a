"""A lab that one test after the other begins anew, at a tenth of the cost of a new database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from controlplane.provisioning.crew import nowhere
from tests.database import Server, fresh_database
from tests.engine.lab import Lab, open_lab
from tests.engine.world import assert_world, fingerprint


@dataclass
class Ground:
    """A lab with the bystander 'globex', whom nothing touches; `mails` are the bystander's."""

    lab: Lab
    bystander: UUID
    superuser: psycopg.AsyncConnection[Any]
    healthy: dict[str, Any]
    unharmed: Any
    mails: int

    @asynccontextmanager
    async def anew(self) -> AsyncIterator[None]:
        """For one test: nobody but the bystander is there, whom it leaves as he was."""
        await self.forget()
        yield
        await assert_world(self.lab)
        assert await fingerprint(self.lab, self.bystander) == self.unharmed

    async def forget(self) -> None:
        """Make everybody but the bystander unheard of, as only a superuser can."""
        lab = self.lab
        kept = {"forget.but": self.bystander, "forget.of": lab.parts.installation}
        for name, value in kept.items():
            await self.superuser.execute("SELECT set_config(%s, %s, false)", [name, str(value)])
        await self.superuser.execute(_FORGET)
        records = lab.dns.records
        for name in [n for n, owned in records.items() if owned.mark.tenant != self.bystander]:
            del records[name]
        del lab.sender.sent[self.mails :]
        lab.steps, lab.failpoint = dict(self.healthy), nowhere
        lab.visited.clear()


@asynccontextmanager
async def open_ground(server: Server, folder: Path) -> AsyncIterator[Ground]:
    """A database of its own, and the bystander in it."""
    with fresh_database(server) as database:
        url = database.superuser_url
        async with (
            open_lab(database, folder) as lab,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as superuser,
        ):
            bystander = await lab.active("globex")
            unharmed = await fingerprint(lab, bystander)
            mails = len(lab.sender.sent)
            yield Ground(lab, bystander, superuser, dict(lab.steps), unharmed, mails)


# Neither the triggers that keep a journal from being cut nor the foreign keys have a say in it.
_FORGET = r"""
DO $$
DECLARE
  name text;
  bystander uuid := current_setting('forget.but');
  mark text := 'controlplane/' || current_setting('forget.of') || '/%';
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR name IN SELECT table_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'tenant_id' LOOP
    EXECUTE format('DELETE FROM public.%I WHERE tenant_id <> $1', name) USING bystander;
  END LOOP;
  DELETE FROM public.tenants WHERE id <> bystander;
  FOR name IN SELECT table_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'operation_id' LOOP
    EXECUTE format('DELETE FROM public.%I gone WHERE NOT EXISTS
      (SELECT FROM public.operations o WHERE o.id = gone.operation_id)', name);
  END LOOP;
  FOR name IN SELECT nspname FROM pg_namespace
    WHERE obj_description(oid, 'pg_namespace') LIKE mark
    AND nspname <> 'tenant_' || replace(bystander::text, '-', '') LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', name);
  END LOOP;
  FOR name IN SELECT rolname FROM pg_roles
    WHERE shobj_description(oid, 'pg_authid') LIKE mark
    AND rolname <> 'tenant_' || replace(bystander::text, '-', '') LOOP
    EXECUTE format('DROP OWNED BY %I CASCADE', name);
    EXECUTE format('DROP ROLE %I', name);
  END LOOP;
END $$
"""
