"""Looks at the new tenant as an app server will, before anybody is let in. Changes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.errors import TenantUnavailable, Transient, VerificationFailed
from controlplane.provisioning.step import Output, Plain, Target
from controlplane.routing import Tenancy
from controlplane.store import tenants
from controlplane.tenancy.admin import admin_id
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.template import Template
from controlplane.tenancy.verify import verify_catalog

# A template of many tables that is wrong throughout must not fill the journal with one error.
_TOLD = 8


def told(findings: Sequence[str]) -> str:
    """The first findings as one text, with the number of the others."""
    rest = len(findings) - _TOLD
    return " ".join([*findings[:_TOLD], *([f"And {rest} more."] if rest > 0 else [])])


@dataclass(frozen=True)
class Verify(Plain):
    """`routing` connects as the app servers' login, `database` as the owner."""

    database: AsyncEngine
    routing: Tenancy
    template: Template
    app_login: str

    async def ensure(self, target: Target) -> Output:
        if findings := await self._findings(target):
            raise VerificationFailed(told(findings))
        return None

    async def absent(self, _target: Target) -> Output:
        # Nothing was made, so nothing is to be undone.
        return None

    async def observe(self, target: Target) -> bool:
        return not await self._findings(target)

    async def _findings(self, target: Target) -> list[str]:
        async with self.database.connect() as conn:
            if not await self._can_judge(conn, target):
                return await self._read_as_app_server(target)
            findings = await verify_catalog(
                conn,
                tenant_id=target.tenant.id,
                app_login=self.app_login,
                template=self.template,
            )
        return findings or await self._read_as_app_server(target)

    async def _can_judge(self, conn: AsyncConnection, target: Target) -> bool:
        """Whether the schema was made from this worker's template: during a rolling deploy it may
        be a newer or older one's, which only that release could hold against its own."""
        made = (await tenants.get(conn, target.tenant.id)).revision
        return made == (await asyncio.to_thread(compiled, self.template)).revision

    async def _read_as_app_server(self, target: Target) -> list[str]:
        try:
            async with self.routing.transaction(target.tenant) as conn:
                found = await conn.execute(
                    "SELECT count(*) FROM users WHERE id = %s", [admin_id(target.tenant.id)]
                )
                row = await found.fetchone()
        except TenantUnavailable as error:
            return [str(error)]
        except psycopg.OperationalError as error:
            raise Transient("The app servers' login cannot reach the database.") from error
        except psycopg.Error as error:
            return [f"An app server cannot read the tenant's users ({type(error).__name__})."]
        return [] if row == (1,) else ["An app server does not see the tenant's first admin."]
