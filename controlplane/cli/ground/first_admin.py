"""The first global admin of `dev` and `demo`; elsewhere there is no default account."""

from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.errors import NotFound
from controlplane.store import admins
from controlplane.store.admin_tables import AdminRole

EMAIL = "dev@localhost"
_NAME = "dev"


async def fresh_token(owner: AsyncEngine) -> str:
    """A new token for the admin, who is entered the first time; the one before it ends."""
    async with owner.begin() as conn:
        try:
            await admins.revoke_tokens(conn, email=EMAIL, name=_NAME)
        except NotFound:
            await admins.add_admin(conn, email=EMAIL, name=None, role=AdminRole.SUPER_ADMIN)
        return await admins.add_token(conn, email=EMAIL, name=_NAME)
