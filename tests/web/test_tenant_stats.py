"""What a tenant's statistics count, and what they leave out."""

from collections.abc import AsyncIterator

import pytest

from controlplane.tenancy.tallies import Tally, tallies
from tests.database import Server
from tests.web.members import ADMIN, MANAGER, USER, Json, Members, open_members

pytestmark = pytest.mark.anyio

STATS = "/api/tenant/stats"
_ROWS = """
INSERT INTO users (email) SELECT n || '@x.test' FROM generate_series(1, {users}) n;
INSERT INTO api_clients (client_id, name, secret_hash)
  SELECT 'c' || n, 'c', ''::bytea FROM generate_series(1, {clients}) n;
INSERT INTO sessions (token_hash, kind, realm_id, user_id, expires_at, revoked_at)
  SELECT decode(md5(n || k), 'hex'), 'browser', (SELECT id FROM tenant_realms LIMIT 1),
    (SELECT id FROM users LIMIT 1), now() + ends, revoked
  FROM generate_series(1, {sessions}) n, (VALUES
    ('live', interval '1 h', NULL), ('over', interval '-1 s', NULL), ('ended', '1 h', now())
  ) kinds (k, ends, revoked);
INSERT INTO unverified_users (email, expires_at, state)
  SELECT n || state, now(), state
  FROM generate_series(1, {sign_ups}) n, (VALUES ('pending'), ('rejected')) states (state);
INSERT INTO unverified_clients (client_id, name, contact_email, secret_hash, expires_at)
  VALUES ('waiting', 'c', 'c@x.test', '', now());
INSERT INTO clients (kind, name) VALUES ('company', 'c');
INSERT INTO registrations (number, client_id) SELECT '1', id FROM clients;
INSERT INTO documents (registration_id, name, storage_path, mime_type, size_bytes)
  SELECT id, 'd', n::text, 'text/plain', n FROM registrations, generate_series(1, {documents}) n;
ANALYZE users, sessions, documents
"""


def fill(members: Members, tenant: Json, **counts: int) -> None:
    script = _ROWS
    for name, count in counts.items():
        script = script.replace(f"{{{name}}}", str(count))
    members.script(tenant, script)


@pytest.fixture(scope="module")
async def members(server: Server) -> AsyncIterator[Members]:
    async with open_members(server) as opened:
        # One user is there before: the first admin.
        fill(opened, opened.acme, users=6, clients=3, sessions=5, sign_ups=2, documents=10)
        fill(opened, opened.globex, users=1, clients=0, sessions=1, sign_ups=0, documents=2)
        yield opened


async def _found(members: Members, tenant: Json, *, exact_rows: int) -> dict[str, Tally]:
    parts = members.site.parts
    routed = await parts.directory.lookup(tenant["subdomain"])
    async with parts.tenancy.transaction(routed) as conn:
        return await tallies(conn, exact_rows=exact_rows)


async def test_each_tenants_own_things_are_counted(members: Members) -> None:
    expected = [(members.acme, 7, 3, 5, 3, 10, 55), (members.globex, 2, 0, 1, 1, 2, 3)]
    names = ("users", "api_clients", "sessions", "pending_registrations", "documents")
    for tenant, *numbers in expected:
        for role in (ADMIN, MANAGER):
            async with members.at(tenant, role) as client:
                answer = await client.get(STATS)
            assert answer.status_code == 200
            exact = [{"number": number, "estimated": False} for number in numbers]
            assert answer.json() == dict(zip((*names, "storage_bytes"), exact, strict=True))


async def test_users_are_not_told(members: Members) -> None:
    async with members.at(members.acme, USER) as client:
        answer = await client.get(STATS)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_too_many_to_count_are_estimated_and_flagged(members: Members) -> None:
    found = await _found(members, members.acme, exact_rows=5)
    assert found["users"] == Tally(7, estimated=True)
    assert found["documents"] == Tally(10, estimated=True)
    # Six of ten documents are measured: 21 bytes, were they the first six.
    assert found["storage_bytes"].estimated
    assert 21 * 10 // 6 <= found["storage_bytes"].number <= 45 * 10 // 6
    assert found["sessions"] == Tally(5, estimated=False)
    assert found["pending_registrations"] == Tally(3, estimated=False)
    assert (await _found(members, members.acme, exact_rows=10))["documents"] == Tally(10, False)  # noqa: FBT003  estimated


async def test_an_estimate_is_never_below_what_was_counted(members: Members) -> None:
    # Nobody has analysed this table, so the statistics know of nothing.
    found = await _found(members, members.acme, exact_rows=2)
    assert found["api_clients"] == Tally(3, estimated=True)
    assert found["sessions"].number >= 3


async def test_what_the_template_lacks_is_left_out(members: Members) -> None:
    away = "ALTER TABLE documents RENAME size_bytes TO kept"
    changes = [
        f"{away}; ALTER TABLE documents ADD size_bytes text",
        "ALTER TABLE documents DROP size_bytes; ALTER TABLE documents RENAME TO papers",
        "ALTER TABLE papers RENAME TO documents; ALTER TABLE documents RENAME kept TO size_bytes",
    ]
    told = []
    async with members.at(members.globex, ADMIN) as client:
        for change in changes:
            members.script(members.globex, change)
            told.append(set((await client.get(STATS)).json()))
    unmeasured, without, _ = told
    assert unmeasured - without == {"documents"}
    assert without == {"users", "api_clients", "sessions", "pending_registrations"}
