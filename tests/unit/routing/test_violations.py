"""Which errors are violations, and that each is told of once."""

from uuid import UUID

import pytest
from psycopg.errors import InsufficientPrivilege, UniqueViolation

from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    MissingTenantContext,
    TenantBusy,
    TenantContextConflict,
    TenantMismatch,
    TenantSchemaMissing,
)
from controlplane.routing import RoutedTenant, Violation, hear, hear_sync
from controlplane.routing.resolve import Asked
from controlplane.routing.violations import EARS, KINDS, Ears, kind_of

ACME = RoutedTenant(UUID(int=7), "acme", "Acme", TenantState.ACTIVE, "starter", "abc")
ASKED = Asked("acme.example.com", "/", [], "192.0.2.7")


def caused_by(cause):
    """As a library wraps what the driver raises."""
    wrapped = RuntimeError("of a library")
    wrapped.__cause__ = cause
    return wrapped


def its_own_cause():
    error = RuntimeError("itself")
    error.__cause__ = error
    return error


VIOLATIONS = [
    (TenantMismatch("x"), "tenant_mismatch"),
    (TenantSchemaMissing("x"), "tenant_schema_missing"),
    (TenantContextConflict("x"), "tenant_context_conflict"),
    (InsufficientPrivilege("x"), "denied"),
    (caused_by(caused_by(InsufficientPrivilege("x"))), "denied"),
    (ExceptionGroup("x", [ValueError(), InsufficientPrivilege("x")]), "denied"),
]


@pytest.mark.parametrize(("error", "kind"), VIOLATIONS)
def test_what_must_never_happen_has_a_kind(error, kind):
    assert kind_of(error) == kind


def test_every_kind_is_listed():
    assert sorted(KINDS) == sorted({kind for _, kind in VIOLATIONS})


@pytest.mark.parametrize(
    "error",
    [
        TenantBusy("x"),
        MissingTenantContext("x"),
        UniqueViolation("x"),
        caused_by(UniqueViolation("x")),
        ExceptionGroup("x", [ValueError()]),
        its_own_cause(),
    ],
)
def test_what_happens_to_everybody_has_none(error):
    assert kind_of(error) is None


def test_a_role_that_cannot_be_entered_is_a_schema_that_is_missing():
    missing = TenantSchemaMissing("x")
    missing.__cause__ = InsufficientPrivilege("x")
    assert kind_of(missing) == "tenant_schema_missing"


def test_each_kind_is_told_once_a_request():
    told: list[Violation] = []
    ears = Ears(told.append, ACME, ASKED, request_id="r-1")
    for _ in range(2):
        ears(InsufficientPrivilege("x"))
        ears(TenantMismatch("x", claimed=UUID(int=8)))
        ears(TenantBusy("x"))
    assert told == [
        Violation("denied", ACME, ASKED, None, "r-1"),
        Violation("tenant_mismatch", ACME, ASKED, UUID(int=8), "r-1"),
    ]


def test_who_logs_a_violation_logs_no_token():
    asked = Asked("acme.example.com", "/", [(b"authorization", b"Bearer secret")], None)
    assert "secret" not in repr(Violation("denied", ACME, asked))


@pytest.mark.anyio
async def test_what_a_framework_answers_is_heard_where_a_tenant_is_served_and_nowhere_else():
    told: list[Violation] = []
    scope = {EARS: Ears(told.append, ACME, ASKED)}
    await hear(InsufficientPrivilege("x"), scope)
    await hear(InsufficientPrivilege("x"), {})
    hear_sync(TenantSchemaMissing("x"), scope)
    assert [violation.kind for violation in told] == ["denied", "tenant_schema_missing"]
