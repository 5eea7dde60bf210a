"""A witness inside the database: what was written under an epoch that was not current at commit.

It only takes notes. A witness that refused would be a second fence, and hide that the first is
missing.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.tenancy.scope import send

_INSTALL = """
CREATE TABLE public.witness (
  operation_id uuid NOT NULL, relation text NOT NULL, written bigint, current bigint NOT NULL
);
CREATE FUNCTION public.witness() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO public.witness
  SELECT NEW.operation_id, TG_TABLE_NAME, NEW.epoch, o.epoch FROM public.operations o
  WHERE o.id = NEW.operation_id AND o.epoch IS DISTINCT FROM NEW.epoch;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON public.operation_events
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.witness();
CREATE CONSTRAINT TRIGGER witness AFTER UPDATE ON public.operation_steps
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.state <> OLD.state OR NEW.epoch IS DISTINCT FROM OLD.epoch)
  EXECUTE FUNCTION public.witness();
"""


async def install(owner: AsyncEngine) -> None:
    """Have the database watched from now on, by whatever process it is written."""
    async with owner.begin() as conn:
        there = await conn.exec_driver_sql("SELECT to_regclass('public.witness') IS NOT NULL")
        if not there.scalar_one():
            await send(conn, _INSTALL)
