"""What an operator may do about a name that is held: give it free before its time."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.store import audit, holds
from controlplane.store.audit import Actor
from controlplane.store.holds import Hold


async def release_name(conn: AsyncConnection, subdomain: Subdomain, *, actor: Actor) -> list[Hold]:
    """End what keeps others from claiming the name; the holds among that. Never commits.

    Raises InvalidState while an operation is at work on the name.
    """
    ended, strays = await holds.end(conn, subdomain)
    if ended or strays:
        told: dict[str, Any] = {
            "holds": [{"why": hold.why, "tenant_id": str(hold.tenant_id)} for hold in ended]
        }
        if strays:
            told["records_of"] = [str(tenant_id) for tenant_id in strays]
        await audit.write(conn, actor, "subdomain.release", target=subdomain, before=told)
    return ended
