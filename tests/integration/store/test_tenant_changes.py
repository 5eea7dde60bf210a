"""Whatever app servers see of a tenant is told of when it changes, and nothing else is."""

import psycopg
import pytest

from controlplane.store import migrate

pytestmark = pytest.mark.database_near

_TENANT = (
    "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email) VALUES"
    " (gen_random_uuid(), 'A', %s, 'active', 'starter', 'ada@acme.test')"
)


@pytest.fixture
def control(database):
    """As the control plane's login, with two tenants of whom everybody has heard."""
    with psycopg.connect(database.control_url, autocommit=True) as conn:
        for subdomain in ("acme", "globex"):
            conn.execute(_TENANT, [subdomain])
        yield conn


def _told(database, since):
    with psycopg.connect(database.app_url, autocommit=True) as conn:
        rows = conn.execute(
            "SELECT DISTINCT subdomain FROM public.tenant_registry_changes WHERE changed_in > %s",
            [since],
        )
        return {subdomain for (subdomain,) in rows}


def _newest(conn):
    ((newest,),) = conn.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
    return newest


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'", {"acme"}),
        ("UPDATE public.tenants SET name = 'B' WHERE subdomain = 'acme'", {"acme"}),
        ("UPDATE public.tenants SET tier = 'professional' WHERE subdomain = 'acme'", {"acme"}),
        ("UPDATE public.tenants SET revision = 'a,b'", {"acme", "globex"}),
        (
            "UPDATE public.tenants SET subdomain = 'initech' WHERE subdomain = 'acme'",
            {"acme", "initech"},
        ),
        ("DELETE FROM public.tenants WHERE subdomain = 'acme'", {"acme"}),
        ("UPDATE public.tenants SET version = version + 1, updated_at = now()", set()),
        ("UPDATE public.tenants SET state = state, admin_name = 'Ada'", set()),
    ],
)
def test_a_change_that_app_servers_see_is_told_of(database, control, change, told):
    since = _newest(control)
    control.execute(change)
    assert _told(database, since) == told


def test_servers_that_run_already_go_on_while_the_schema_is_upgraded(database):
    """Before anybody is granted anything anew."""
    migrate.downgrade_public(database.owner_url, "0003")
    migrate.upgrade_public(database.owner_url)
    with psycopg.connect(database.control_url, autocommit=True) as conn:
        since = _newest(conn)
        conn.execute(_TENANT, ["acme"])
    assert _told(database, since) == {"acme"}


def test_a_change_that_was_rolled_back_is_not_told_of(database, control):
    since = _newest(control)
    with control.transaction(force_rollback=True):
        control.execute("UPDATE public.tenants SET state = 'suspended'")
    assert _told(database, since) == set()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE public.tenant_domains SET redirects = true WHERE host = 'b.test'", True),
        ("UPDATE public.tenant_domains SET is_primary = true WHERE host = 'a.test'", True),
        ("UPDATE public.tenant_domains SET state = 'lost' WHERE host = 'a.test'", True),
        ("DELETE FROM public.tenant_domains WHERE host = 'a.test'", True),
        ("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'", True),
        ("UPDATE public.tenant_domains SET checked_at = now(), points_here = true", False),
    ],
)
def test_whatever_changes_for_one_host_is_told_of_all_hosts_of_its_tenant(
    database, control, change, told
):
    for subdomain, host in (("acme", "a.test"), ("acme", "b.test"), ("globex", "c.test")):
        control.execute(
            "INSERT INTO public.tenant_domains (tenant_id, host, state, verified_at, challenge)"
            " SELECT id, %s, 'verified', now(), 'x' FROM public.tenants WHERE subdomain = %s",
            [host, subdomain],
        )
    since = _newest(control)
    control.execute(change)
    assert _told(database, since) - {"acme"} == ({"a.test", "b.test"} if told else set())


def test_the_registry_shows_verified_hosts_and_where_they_redirect_to(database, control):
    control.execute(
        "INSERT INTO public.tenant_domains"
        " (tenant_id, host, state, verified_at, challenge, is_primary, redirects)"
        " SELECT id, d.host, d.state, CASE d.state WHEN 'verified' THEN now() END, 'x', d.p, d.r"
        " FROM public.tenants, (VALUES ('a.test', 'verified', true, false),"
        " ('b.test', 'verified', false, true), ('c.test', 'pending', false, false))"
        " AS d (host, state, p, r) WHERE subdomain = 'acme'"
    )
    with psycopg.connect(database.app_url) as conn:
        rows = conn.execute("SELECT host, subdomain, moved_to FROM public.tenant_hosts ORDER BY 1")
        assert rows.fetchall() == [("a.test", "acme", None), ("b.test", "acme", "a.test")]
