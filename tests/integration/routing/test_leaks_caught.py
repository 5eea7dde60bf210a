"""The leak test can fail: whatever breaks the isolation on purpose is caught."""
# ruff: noqa: SLF001  what is broken here is inside

import contextlib

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from controlplane.routing import Tenancy, current_tenant, statements, tenant
from controlplane.routing.block import Plain
from controlplane.routing.connections import borrowed
from controlplane.testing import Ask, assert_no_leak, look_for_leaks, marker
from controlplane.testing.ground import Installation, neighbours
from tests.integration.routing.notes_app import NOTES, create_app

pytestmark = pytest.mark.anyio

PLAIN_ASKS = (Ask("/read"), Ask("/savepoint"), Ask("/pieces"), Ask("/say-set"))


@pytest.fixture
def few(database):
    login = conninfo_to_dict(database.app_url)["user"]
    place = Installation(database.superuser_url, database.owner_url, database.app_url, str(login))
    with neighbours(place, NOTES, names=["acme", "globex", "initech"]) as made:
        yield made


async def _found(few, create, *, asks=PLAIN_ASKS, requests=150):
    return await look_for_leaks(create, neighbours=few, asks=asks, requests=requests)


def _with(broken):
    """The application, with a Tenancy of this kind."""
    return lambda pool: create_app(pool, tenancy=broken(pool))


@pytest.fixture
def broken(monkeypatch):
    """Breaks what is said around our own transactions."""

    def break_(**changes):
        for name, value in changes.items():
            monkeypatch.setattr(statements, name, value)
        statements.prelude.cache_clear()

    yield break_
    monkeypatch.undo()
    statements.prelude.cache_clear()


class GoesInThePipeline(Tenancy):
    """Hands the connection back before its pipeline has ended."""

    @contextlib.asynccontextmanager
    async def transaction(self, *_, **__):
        async with self._pool.connection() as conn:
            await conn.set_autocommit(True)
            conn.pgconn.enter_pipeline_mode()
            conn.pgconn.send_query_params(b"SELECT 1", None)
            yield _Unread()


class _Unread:
    async def execute(self, *_):
        return self

    async def fetchone(self):
        return ("nothing",)

    @contextlib.asynccontextmanager
    async def transaction(self, **_):
        yield


class RemembersWhoAskedLast(Tenancy):
    """One attribute for the tenant of all requests, read when the connection is there."""

    @contextlib.asynccontextmanager
    async def transaction(self, *_, **__):
        self.last = current_tenant().id
        async with borrowed(self._pool) as conn:
            block = Plain(conn, self.last)
            try:
                await conn.wait(block.enter())
                yield conn
                await conn.wait(block.commit())
            finally:
                if block.left_open():
                    await conn.wait(block.roll_back())


async def test_set_for_the_session_instead_of_the_transaction_is_caught(few, broken):
    for_the_session = tuple(
        sql.SQL(text.as_string().replace("SET LOCAL", "SET")) for text in statements._ENTER
    )
    broken(_ENTER=for_the_session, RESETS=())
    assert (await _found(few, create_app)).wrong_checkouts > 0


async def test_a_transaction_that_takes_no_role_is_caught(few, broken):
    broken(_ENTER=statements._ENTER[:2], _PROOF=sql.SQL("SELECT {name}"))
    found = await _found(few, create_app)
    assert (found.answered, found.clean) == (0, False)
    assert found.failed > 0


async def test_what_a_statement_has_set_and_nobody_takes_back_is_caught(few, broken):
    broken(RESETS=())
    found = await _found(few, create_app)
    assert found.wrong_checkouts > 0
    assert any("lent with path, role" in find for find in found.finds)


async def test_a_connection_handed_back_in_the_midst_of_a_pipeline_is_caught(few):
    found = await _found(few, _with(GoesInThePipeline), requests=40)
    assert found.wrong_checkouts > 0
    assert "came back in the midst of a pipeline" in found.finds


async def test_a_tenant_that_all_requests_share_is_caught(few):
    assert (await _found(few, _with(RemembersWhoAskedLast))).wrong_rows > 0


async def test_a_scope_that_outlives_its_request_is_caught(few):
    def create(pool):
        app = create_app(pool)

        async def leaking(scope, receive, send):
            await app(scope, receive, send)
            label = dict(scope["headers"])[b"host"].decode().partition(".")[0]
            tenant._current.set(next(t for t in few.tenants if t.subdomain == label))

        return leaking

    assert (await _found(few, create)).wrong_scopes > 0


class TakesBackWhenAllIsWell(Tenancy):
    """Whatever ends a request otherwise, ends it before the RESETs."""

    @contextlib.asynccontextmanager
    async def transaction(self, *_, **__):
        names = {"tenant": sql.Identifier(current_tenant().schema)}
        async with self._pool.connection() as conn:
            await conn.set_autocommit(True)
            await conn.execute(sql.SQL("SET search_path TO {tenant}").format(**names))
            await conn.execute(sql.SQL("SET ROLE {tenant}").format(**names))
            await conn.execute(f"SET app.current_tenant_id TO '{current_tenant().id}'")
            yield conn
            for name in ("ROLE", "search_path", "app.current_tenant_id"):
                await conn.execute(f"RESET {name}")


async def test_disturbances_strike_inside_transactions(few):
    found = await _found(few, _with(TakesBackWhenAllIsWell), asks=(Ask("/stream"), Ask("/slow")))
    assert found.wrong_checkouts > 0


async def test_a_leak_fails_the_test_and_says_where(few):
    with pytest.raises(AssertionError, match=r"(?s)[1-9]\d* wrong rows.*another tenant's row"):
        await assert_no_leak(
            _with(RemembersWhoAskedLast), neighbours=few, asks=PLAIN_ASKS, requests=150
        )


async def test_an_application_that_answers_nothing_proves_nothing(few):
    fails = (Ask("/fail", fails=True),)
    with pytest.raises(AssertionError, match="0 answered"):
        await assert_no_leak(create_app, neighbours=few, asks=fails, requests=20)


async def test_a_row_that_lies_with_the_wrong_tenant_is_found(few):
    acme, globex, _ = few.tenants
    few.execute("INSERT INTO notes VALUES (7, %s)", [marker(globex)], tenant=acme)
    found = await _found(few, create_app, requests=20)
    assert (found.wrong_rows, found.finds) == (1, ["acme.notes holds 1 rows of others"])
