"""The three logins of an installation and what each may do (ISO-05, ISO-11).

*owner* makes schemas and roles and owns the database, *control* reads and writes the public
schema, *app* is the app servers': it inherits nothing and sees the views of the registry alone.
Run by somebody who may create roles; nothing here runs while tenants are served.
"""

import secrets
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from controlplane.errors import StartupError

# Any number will do; replicas that start at once must agree on it. Migrations and grants take it.
MIGRATION_LOCK = 7_201_385_502

_ATTRIBUTES = {
    "owner": sql.SQL("LOGIN CREATEROLE INHERIT"),
    "control": sql.SQL("LOGIN NOCREATEROLE INHERIT"),
    "app": sql.SQL("LOGIN NOCREATEROLE NOINHERIT"),
}
# A new role has none of these powers, and only a superuser may so much as mention them.
_POWERLESS = sql.SQL("NOSUPERUSER NOBYPASSRLS NOREPLICATION NOCREATEDB")
_FIND = """
SELECT shobj_description(oid, 'pg_authid'), rolsuper OR rolbypassrls OR rolreplication OR rolcreatedb
FROM pg_roles WHERE rolname = %s
"""


@dataclass(frozen=True)
class Login:
    name: str
    password: str = field(repr=False)

    def url(self, like: str, *, database: str | None = None) -> str:
        """The libpq URL of this login on the server (and database) of another URL."""
        parts = urlsplit(like)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"{quote(self.name, safe='')}:{quote(self.password, safe='')}@{host}"
        path = f"/{quote(database, safe='')}" if database is not None else parts.path
        return urlunsplit(parts._replace(netloc=netloc, path=path))


@dataclass(frozen=True)
class Logins:
    owner: Login
    control: Login
    app: Login

    @classmethod
    def named(cls, prefix: str) -> "Logins":
        """Three logins `<prefix>_owner|control|app` with fresh random passwords."""
        return cls(*(Login(f"{prefix}_{role}", secrets.token_urlsafe(24)) for role in _ATTRIBUTES))


def create_logins(admin_url: str, logins: Logins) -> None:
    """Create the logins, or give those that we once created these passwords.

    Raises StartupError for a role of that name that does not carry our comment.
    """
    with psycopg.connect(admin_url) as conn:
        for role, attributes in _ATTRIBUTES.items():
            _create_login(conn, getattr(logins, role), role, attributes)


def _create_login(conn: psycopg.Connection, login: Login, role: str, attributes: sql.SQL) -> None:
    comment = _comment(role)
    found = conn.execute(_FIND, [login.name]).fetchone()
    if found is not None and found[0] != comment:
        raise StartupError(
            f"The role '{login.name}' exists and was not made by controlplane; "
            "rename it or choose another prefix."
        )
    # Sent as its verifier, so that the password appears in no statement log.
    verifier = conn.pgconn.encrypt_password(
        login.password.encode(), login.name.encode(), b"scram-sha-256"
    ).decode()
    name = sql.Identifier(login.name)
    verb = sql.SQL("CREATE" if found is None else "ALTER")
    less = _POWERLESS if found and found[1] else sql.SQL("")
    conn.execute(
        sql.SQL("{} ROLE {} {} {} PASSWORD {}").format(
            verb, name, attributes, less, sql.Literal(verifier)
        )
    )
    conn.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, sql.Literal(comment)))


def _comment(role: str) -> str:
    return f"controlplane login: {role}"


def drop_logins(conn: psycopg.Connection, logins: Logins) -> None:
    """Drop those of them that are there and carry our comment. They must own nothing any more."""
    for role in reversed(_ATTRIBUTES):
        name = getattr(logins, role).name
        found = conn.execute(_FIND, [name]).fetchone()
        if found is not None and found[0] == _comment(role):
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def create_database(admin_url: str, name: str, logins: Logins) -> None:
    """Create a database that belongs to the owner, unless it is there. Needs a superuser."""
    with psycopg.connect(admin_url, autocommit=True) as conn:
        if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            conn.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(logins.owner.name)
                )
            )
    harden_database(admin_url, name, logins)


def harden_database(admin_url: str, name: str, logins: Logins) -> None:
    """Take from PUBLIC what would let SQL inside one tenant reach further. Needs a superuser.

    A database copied from a template loses the database-level part: run this on the copy too.
    """
    parts = urlsplit(admin_url)._replace(path=f"/{quote(name, safe='')}")
    database, owner = sql.Identifier(name), sql.Identifier(logins.owner.name)
    everybody = sql.SQL(", ").join(
        sql.Identifier(login.name) for login in (logins.owner, logins.control, logins.app)
    )
    with psycopg.connect(urlunsplit(parts)) as conn:
        conn.execute(
            sql.SQL(
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC;"
                "GRANT CONNECT ON DATABASE {database} TO {everybody};"
                "ALTER SCHEMA public OWNER TO {owner};"
                "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
                # set_config('role', …) inside one SELECT would leave the tenant's role.
                "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config FROM PUBLIC;"
                "GRANT EXECUTE ON FUNCTION pg_catalog.set_config TO {owner}"
            ).format(database=database, everybody=everybody, owner=owner)
        )


def grant_logins(owner_url: str, *, control: str, app: str) -> None:
    """Give the control and app logins their rights in the public schema. Run by the owner after
    every migration of it; granting again changes nothing."""
    with psycopg.connect(owner_url) as conn:
        # Two GRANTs at once fail with "tuple concurrently updated".
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        conn.execute(
            sql.SQL(
                "GRANT USAGE ON SCHEMA public TO {control}, {app};"
                "GRANT SELECT, INSERT, UPDATE, DELETE ON public.tenants, public.global_users,"
                " public.api_tokens, public.system_config, public.operations,"
                " public.operation_steps, public.operation_events, public.tenant_resources,"
                " public.idempotency_keys, public.email_deliveries, public.subdomain_holds,"
                " public.rate_counts, public.tenant_domains TO {control};"
                "GRANT EXECUTE ON FUNCTION public.admit_request(text[], integer[], integer[],"
                " double precision) TO {control};"
                "GRANT SELECT, INSERT ON public.audit_log TO {control};"
                "GRANT SELECT ON public.installation, public.alembic_version_public,"
                " public.tenant_registry, public.drift_findings, public.drift_look,"
                " public.structure_look, public.structure_drift TO {control};"
                "GRANT SELECT, INSERT, UPDATE ON public.rollouts, public.rollout_targets"
                " TO {control};"
                # To take one, a row is locked and goes.
                "GRANT SELECT, UPDATE, DELETE ON public.warm_schemas TO {control};"
                # Written by the trigger that tells of a tenant's change.
                "GRANT SELECT, INSERT ON public.tenant_changes TO {control};"
                "GRANT SELECT ON public.tenant_registry, public.tenant_hosts,"
                " public.tenant_registry_changes TO {app}"
            ).format(control=sql.Identifier(control), app=sql.Identifier(app))
        )
