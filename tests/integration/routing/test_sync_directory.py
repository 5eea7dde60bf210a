"""The directory for threads does what the one for tasks does."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantUnavailable
from controlplane.routing.known import Ages
from controlplane.routing.sync_directory import SyncTenantDirectory

pytestmark = pytest.mark.database_near

EAGER = Ages(fresh_s=0)
LAZY = Ages(fresh_s=3600)


class CountedPool:
    """Lends another pool's connections; `gate` holds them back."""

    def __init__(self, pool):
        self._pool = pool
        self.lent = 0
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def connection(self):
        self.lent += 1
        assert self.gate.wait(60)
        with self._pool.connection() as conn:
            yield conn


@pytest.fixture
def counted(world):
    with ConnectionPool(world.app, min_size=1, max_size=1) as pool:
        yield CountedPool(pool)


def test_what_was_asked_once_is_remembered(counted, world):
    directory = SyncTenantDirectory(counted, ages=LAZY)
    for _ in range(3):
        assert directory.lookup("acme") == world.acme
        assert directory.lookup("nobody") is None
    assert counted.lent == 1 + 2


def test_a_change_is_seen_once_the_registry_was_asked_for_changes(counted, world):
    directory = SyncTenantDirectory(counted, ages=EAGER)
    assert directory.lookup("acme") == world.acme
    world.do("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'")
    found = directory.lookup("acme")
    assert found is not None
    assert found.state is TenantState.SUSPENDED


def test_many_who_ask_at_once_are_one_query(counted, world):
    directory = SyncTenantDirectory(counted, ages=LAZY)
    directory.lookup("globex")
    counted.gate.clear()
    with ThreadPoolExecutor(16) as threads:
        asking = [threads.submit(directory.lookup, "acme") for _ in range(200)]
        counted.gate.set()
        assert {found.result() for found in asking} == {world.acme}
    assert counted.lent == 2 + 1


def test_who_comes_late_to_a_question_asks_no_second_one(counted):
    """A thread that found it due, and was held up until another one had the answer."""
    directory = SyncTenantDirectory(counted, ages=LAZY)
    found_due_at = monotonic()
    directory.lookup("acme")
    directory._catch_up(found_due_at)  # noqa: SLF001  between two of its lines
    assert counted.lent == 2


def test_an_id_is_found_and_follows_its_tenant(counted, world):
    directory = SyncTenantDirectory(counted, ages=EAGER)
    assert directory.identify(world.acme.id) == world.acme
    world.do("UPDATE public.tenants SET subdomain = 'initech' WHERE subdomain = 'acme'")
    found = directory.identify(world.acme.id)
    assert found is not None
    assert found.subdomain == "initech"
    assert directory.identify(world.globex.id) == world.globex


def test_nothing_is_believed_of_a_registry_that_cannot_be_asked(world):
    with ConnectionPool(make_conninfo(world.app), min_size=1, max_size=1, timeout=60) as pool:
        directory = SyncTenantDirectory(pool, ages=EAGER)
        assert directory.lookup("acme") == world.acme
        world.do("REVOKE SELECT ON public.tenant_registry_changes FROM {login}", login=world.login)
        with pytest.raises(TenantUnavailable):
            directory.lookup("acme")
        world.do("GRANT SELECT ON public.tenant_registry_changes TO {login}", login=world.login)
        assert directory.lookup("acme") == world.acme


def test_an_error_goes_to_whoever_asked_and_is_not_remembered(counted, world):
    directory = SyncTenantDirectory(counted, ages=LAZY)
    world.do("UPDATE public.tenants SET state = 'teleporting' WHERE subdomain = 'acme'")
    with pytest.raises(TenantUnavailable, match="teleporting"):
        directory.lookup("acme")
    world.do("UPDATE public.tenants SET state = 'active' WHERE subdomain = 'acme'")
    assert directory.lookup("acme") == world.acme


def test_a_connection_goes_back_idle(counted):
    SyncTenantDirectory(counted, ages=LAZY).lookup("acme")
    with counted.connection() as conn:
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
