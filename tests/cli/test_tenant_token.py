"""`controlplane token tenant`: a token for a tenant's host, where the operator has set a key."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane import settings
from controlplane.cli.root import run
from controlplane.connections import open_owner
from controlplane.domain.naming import parse_subdomain
from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.identity.keys import signed_tokens
from controlplane.provisioning.requests import NewTenant, create_tenant
from controlplane.settings import Settings, variable
from controlplane.store.audit import Actor
from controlplane.tenancy.admin import admin_id
from tests.bad_tokens import KEY
from tests.database import Database

NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Place:
    settings: Settings
    database: Database
    tenant_id: UUID


@pytest.fixture
def place(database: Database, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A control plane with a tenant 'acme', and its settings in the environment."""
    given = {
        "database_url": database.control_url,
        "database_url_direct": database.owner_url,
        "app_database_url": database.app_url,
        "base_domain": "apps.example.test",
        "dns": "memory",
        "dns_target": "192.0.2.1",
        "mail": "memory",
        "mail_from": "controlplane@example.test",
        "tenant_token_key": KEY.decode(),
    }
    for field, value in given.items():
        monkeypatch.setenv(variable(field), value)
    loaded = settings.load()
    return Place(loaded, database, asyncio.run(_tenant(loaded)))


async def _tenant(loaded: Settings) -> UUID:
    wanted = NewTenant(
        name="Acme",
        subdomain=parse_subdomain("acme"),
        admin_email="ada@acme.test",
        admin_name=None,
        tier=None,
        metadata={},
    )
    engine = open_owner(loaded)
    async with engine.begin() as conn:
        made = await _accepted(conn, wanted)
    await engine.dispose()
    return made


async def _accepted(conn: AsyncConnection, wanted: NewTenant) -> UUID:
    view = await create_tenant(conn, wanted, actor=Actor(None, "cli"), deadline_s=60)
    return view.tenant_id


def test_a_token_speaks_for_the_first_admin_and_is_in_the_audit_log(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = signed_tokens(place.settings)
    assert tokens is not None
    for arguments, roles in (
        (["acme"], {"tenant_admin"}),
        ([str(place.tenant_id), "--role", "user", "--role", "auditor"], {"user", "auditor"}),
    ):
        assert run(["token", "tenant", *arguments, "--minutes", "5"]) == 0
        told = capsys.readouterr().out
        speaker = Principal(
            admin_id(place.tenant_id), place.tenant_id, frozenset(roles), PrincipalKind.USER
        )
        assert tokens.verify(told.strip()) == speaker
    with psycopg.connect(place.database.superuser_url) as conn:
        rows = conn.execute(
            "SELECT actor_kind, tenant_id, after FROM public.audit_log"
            " WHERE action = 'tenant.token' ORDER BY at"
        ).fetchall()
    assert rows == [
        ("cli", place.tenant_id, {"roles": ["tenant_admin"], "seconds": 300}),
        ("cli", place.tenant_id, {"roles": ["auditor", "user"], "seconds": 300}),
    ]


def test_without_a_key_or_a_tenant_there_is_no_token(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for unknown in ("globex", NOBODY):
        assert run(["token", "tenant", unknown]) == 3
    assert run(["token", "tenant", "acme", "--minutes", "1441"]) == 2
    capsys.readouterr()
    monkeypatch.delenv(variable("tenant_token_key"))
    assert run(["token", "tenant", "acme"]) == 1
    told = capsys.readouterr()
    assert (told.out, "CONTROLPLANE_TENANT_TOKEN_KEY" in told.err) == ("", True)
    assert place.tenant_id.hex not in told.err
