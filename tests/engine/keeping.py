"""What stands in a database, kept so that one test after the other can have it again.

Rows are kept in temporary tables of one superuser's session, which nobody else sees. A tenant's
schema and role stay where they are: for as long as nobody wants them they have another name and no
mark, so that to the engine they are not there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

_COLUMNS = """
SELECT c.relname, array_agg(a.attname ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY 1 ORDER BY 1
"""
_MARKS = """
SELECT n.nspname, obj_description(n.oid, 'pg_namespace'), shobj_description(r.oid, 'pg_authid')
FROM pg_namespace n JOIN pg_roles r ON r.rolname = n.nspname
WHERE n.nspname ~ '^tenant_[0-9a-f]{32}$' AND n.nspname <> ALL(%s)
"""
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^tenant_'"


@dataclass
class Kept:
    """What stood there at one moment; `looks` tells any change of a schema from none."""

    number: int
    marks: dict[str, tuple[str, str]]
    looks: dict[str, str]


@dataclass
class Keeper:
    """`superuser` commits each statement by itself. `lasting` are schemas that always stay."""

    superuser: psycopg.AsyncConnection[Any]
    mark: str
    columns: dict[str, list[str]]
    lasting: list[str]
    _numbers: "count[int]" = field(default_factory=count)
    _hidden: set[str] = field(default_factory=set)

    @classmethod
    async def begin(cls, superuser: psycopg.AsyncConnection[Any], installation: UUID) -> Self:
        """Whatever tenants are there now will stay."""
        await superuser.execute(_FUNCTIONS)
        columns = await (await superuser.execute(_COLUMNS)).fetchall()
        lasting = [name for (name,) in await (await superuser.execute(_SCHEMAS)).fetchall()]
        return cls(superuser, f"controlplane/{installation}/", dict(columns), lasting)

    async def keep(self) -> Kept:
        number = next(self._numbers)
        filled = [name for name in self.columns if await self._keep_rows(name, number)]
        statements = SQL("").join(self._again(name, number, filled) for name in self.columns)
        await self.superuser.execute(_RESTORE.format(_function(number), Literal(_body(statements))))
        found = await (await self.superuser.execute(_MARKS, [self.lasting])).fetchall()
        marks = {name: (schema, role) for name, schema, role in found}
        return Kept(number, marks, {name: await self._look(name) for name in marks})

    async def _keep_rows(self, name: str, number: int) -> bool:
        """Whether there are any."""
        kept = SQL("CREATE TEMPORARY TABLE {} AS TABLE public.{}")
        done = await self.superuser.execute(kept.format(_copy(name, number), Identifier(name)))
        return bool(done.rowcount)

    def _again(self, name: str, number: int, filled: Iterable[str]) -> Composed:
        table = Identifier("public", name)
        if name not in filled:
            return SQL("DELETE FROM {};\n").format(table)
        columns = SQL(", ").join(map(Identifier, self.columns[name]))
        return SQL(
            "DELETE FROM {}; INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {};\n"
        ).format(table, table, columns, columns, _copy(name, number))

    async def restore(self, kept: Kept) -> bool:
        """Whether all is as it was; if not, whatever it was is gone and must be made again."""
        for name in kept.marks:
            if name not in self._hidden or await self._look(_hidden(name)) != kept.looks[name]:
                return False
        await self.superuser.execute(SQL("SELECT {}()").format(_function(kept.number)))
        for name, (schema, role) in kept.marks.items():
            await self.superuser.execute(
                "SELECT pg_temp.show(%s, %s, %s, %s)", [_hidden(name), name, schema, role]
            )
            self._hidden.discard(name)
        return True

    async def clear(self, base: Kept, known: Iterable[Kept]) -> None:
        """Nothing is there but what `base` holds; what else is `known` is out of sight."""
        for kept in known:
            for name in kept.marks:
                if name not in self._hidden and await self._look(name) == kept.looks[name]:
                    await self.superuser.execute(
                        "SELECT pg_temp.hide(%s, %s)", [name, _hidden(name)]
                    )
                    self._hidden.add(name)
        await self.superuser.execute(
            "SELECT pg_temp.tidy(%s, %s, %s)", [self.lasting, self.mark, list(self.columns)]
        )
        assert await self.restore(base)

    async def end(self) -> None:
        """Nothing stays that its mark would not tell to be ours."""
        for name in self._hidden:
            await self.superuser.execute("SELECT pg_temp.drop(%s)", [_hidden(name)])

    async def _look(self, name: str) -> str:
        found = await self.superuser.execute("SELECT pg_temp.look(%s)", [name])
        return str((await found.fetchone() or [None])[0])


def _copy(name: str, number: int) -> Identifier:
    return Identifier("pg_temp", f"kept_{number}_{name}")


def _function(number: int) -> Identifier:
    return Identifier("pg_temp", f"restore_{number}")


def _hidden(name: str) -> str:
    return f"hidden_{name}"


def _body(statements: Composed) -> str:
    return f"BEGIN\n{statements.as_string()}END"


# Neither the triggers that keep a journal from being cut nor the foreign keys have a say in it.
_RESTORE = SQL(
    "CREATE FUNCTION {}() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS {}"
)

# A row that was changed, and be it in vain, has another xmin.
_FUNCTIONS = r"""
CREATE FUNCTION pg_temp.look(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  seen text;
  part text;
  relation oid;
BEGIN
  SELECT concat_ws('/', n.oid, replace(n.nspacl::text, name, ''), r.oid, r.rolcanlogin, r.rolinherit, r.rolconfig,
    (SELECT string_agg(m::text, ',' ORDER BY m.member) FROM pg_auth_members m
     WHERE m.roleid = r.oid OR m.member = r.oid),
    (SELECT count(*) FROM pg_depend d
     WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid),
    (SELECT md5(string_agg(concat(p.oid, ':', p.xmin), ',' ORDER BY p.oid)) FROM pg_proc p
     WHERE p.pronamespace = n.oid))
  INTO seen FROM pg_namespace n JOIN pg_roles r ON r.rolname = n.nspname WHERE n.nspname = name;
  FOR relation IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = name ORDER BY 1 LOOP
    SELECT concat_ws('/', c.oid, c.xmin,
      (SELECT md5(string_agg(a.xmin::text, ',' ORDER BY a.attnum)) FROM pg_attribute a
       WHERE a.attrelid = c.oid),
      (SELECT md5(string_agg(a.xmin::text, ',' ORDER BY a.adnum)) FROM pg_attrdef a
       WHERE a.adrelid = c.oid),
      (SELECT md5(string_agg(k.xmin::text, ',' ORDER BY k.oid)) FROM pg_constraint k
       WHERE k.conrelid = c.oid),
      (SELECT md5(string_agg(p.xmin::text, ',' ORDER BY p.oid)) FROM pg_policy p
       WHERE p.polrelid = c.oid),
      (SELECT md5(string_agg(t.xmin::text, ',' ORDER BY t.oid)) FROM pg_trigger t
       WHERE t.tgrelid = c.oid))
    INTO part FROM pg_class c WHERE c.oid = relation;
    seen := concat_ws(';', seen, part);
    IF (SELECT relkind FROM pg_class WHERE oid = relation) = 'r' THEN
      EXECUTE format('SELECT string_agg(concat(ctid, xmin), '','' ORDER BY ctid) FROM %s',
        relation::regclass) INTO part;
      seen := concat_ws(';', seen, part);
    END IF;
  END LOOP;
  RETURN md5(seen);
END $$;

CREATE FUNCTION pg_temp.hide(name text, hidden text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER SCHEMA %I RENAME TO %I', name, hidden);
  EXECUTE format('ALTER ROLE %I RENAME TO %I', name, hidden);
  EXECUTE format('COMMENT ON SCHEMA %I IS NULL', hidden);
  EXECUTE format('COMMENT ON ROLE %I IS NULL', hidden);
END $$;

CREATE FUNCTION pg_temp.show(hidden text, name text, of_schema text, of_role text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER SCHEMA %I RENAME TO %I', hidden, name);
  EXECUTE format('ALTER ROLE %I RENAME TO %I', hidden, name);
  EXECUTE format('COMMENT ON SCHEMA %I IS %L', name, of_schema);
  EXECUTE format('COMMENT ON ROLE %I IS %L', name, of_role);
END $$;

CREATE FUNCTION pg_temp.drop(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', name);
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
    EXECUTE format('DROP OWNED BY %I CASCADE', name);
    EXECUTE format('DROP ROLE %I', name);
  END IF;
END $$;

CREATE FUNCTION pg_temp.tidy(lasting text[], mark text, tables text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  found text;
BEGIN
  FOR found IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    AND relkind = 'r' AND relname <> ALL(tables) LOOP
    RAISE 'A test has left the table % behind.', found;
  END LOOP;
  FOR found IN SELECT nspname FROM pg_namespace
    WHERE nspname ~ '^tenant_' AND nspname <> ALL(lasting) LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', found);
  END LOOP;
  FOR found IN SELECT rolname FROM pg_roles
    WHERE starts_with(shobj_description(oid, 'pg_authid'), mark) AND rolname <> ALL(lasting) LOOP
    PERFORM pg_temp.drop(found);
  END LOOP;
END $$;
"""
