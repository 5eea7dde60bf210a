"""What is a finding and what is not, decided from what was read alone."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from controlplane.domain.dns import OwnedRecord, record_for
from controlplane.domain.drift import (
    REMEDIES,
    Finding,
    Kind,
    Seen,
    SeenOperation,
    SeenTenant,
    findings,
    record_is_orphan,
    repairable,
    schema_is_orphan,
    tenant_marked,
)
from controlplane.domain.naming import Mark, Subdomain, schema_name
from controlplane.domain.operations import OperationState
from controlplane.domain.tenants import TenantState

INSTALLATION, ACME, GLOBEX = uuid4(), UUID(int=1), UUID(int=2)
TARGET = "192.0.2.7"
RUNNING = SeenOperation(uuid4(), "repair", OperationState.RUNNING, idle=False)


def record(name="acme", tenant=ACME, target=TARGET):
    return OwnedRecord(record_for(Subdomain(name), target), Mark(INSTALLATION, tenant, uuid4()))


def tenant(state, operation=None):
    return SeenTenant(ACME, Subdomain("acme"), TenantState(state), operation)


def seen(state=None, *, schema=False, role=False, records=(), operation=None):
    """What there is of Acme, beside a Globex that is whole."""
    globex = SeenTenant(GLOBEX, Subdomain("globex"), TenantState.ACTIVE, None)
    tenants = {GLOBEX: globex} | ({ACME: tenant(state, operation)} if state else {})
    return Seen(
        tenants,
        schemas=frozenset({GLOBEX, *([ACME] if schema else ())}),
        roles=frozenset({GLOBEX, *([ACME] if role else ())}),
        records=(record("globex", GLOBEX), *records),
    )


def kinds(what, *, target=TARGET):
    return {(finding.kind.value, finding.subject) for finding in findings(what, dns_target=target)}


WHOLE: dict[str, dict[str, Any]] = {
    "active": {"schema": True, "role": True, "records": (record(),)},
    "suspended": {"schema": True, "role": True, "records": (record(),)},
    "deleted": {"schema": True, "role": True},
    "failed": {},
    "purged": {},
}
SCHEMA = schema_name(ACME)


@pytest.mark.parametrize("state", WHOLE)
def test_a_tenant_that_has_what_its_state_says_is_no_finding(state):
    assert kinds(seen(state, **WHOLE[state])) == set()


@pytest.mark.parametrize("state", [None, "failed", "purged"])
def test_what_is_left_of_a_tenant_that_is_gone_is_listed_thing_by_thing(state):
    left = seen(state, schema=True, role=True, records=(record(),))
    assert kinds(left) == {
        ("schema_without_tenant", SCHEMA),
        ("role_without_tenant", SCHEMA),
        ("record_without_tenant", "acme"),
    }


def test_a_deleted_tenant_keeps_its_schema_but_not_its_record():
    left = seen("deleted", schema=True, role=True, records=(record(),))
    assert kinds(left) == {("record_without_tenant", "acme")}


@pytest.mark.parametrize("state", ["active", "suspended", "deleted", "failed"])
def test_a_record_of_another_name_is_nobodys(state):
    whole = WHOLE[state]
    left = seen(state, **{**whole, "records": (*whole.get("records", ()), record("acme-old"))})
    assert kinds(left) == {("record_without_tenant", "acme-old")}


@pytest.mark.parametrize("state", ["failed", "purged", "deleted"])
def test_what_an_operation_may_be_at_work_on_is_no_finding(state):
    busy = seen(state, schema=True, role=True, records=(record(),), operation=RUNNING)
    assert kinds(busy) == set()


def test_no_record_is_missing_where_tenants_have_none_of_their_own():
    recordless = seen("active", schema=True, role=True)
    assert kinds(recordless) == {("record_missing", "acme")}
    assert kinds(recordless, target=None) == set()
    left = seen("active", schema=True, role=True, records=(record("left"),))
    assert kinds(left, target=None) == {("record_without_tenant", "left")}


@pytest.mark.parametrize("state", ["active", "suspended"])
def test_a_served_tenant_needs_its_record(state):
    whole = {"schema": True, "role": True}
    assert kinds(seen(state, **whole)) == {("record_missing", "acme")}
    assert kinds(seen(state, **whole, operation=RUNNING)) == set()
    elsewhere = seen(state, **whole, records=(record(target="192.0.2.8"),))
    assert kinds(elsewhere) == {("record_missing", "acme")}
    stolen = seen(state, **whole, records=(record(tenant=GLOBEX),))
    assert kinds(stolen) == {("record_missing", "acme"), ("record_without_tenant", "acme")}


@pytest.mark.parametrize(
    ("setting", "in_the_zone"),
    [("2001:DB8:0::1", "2001:db8::1"), ("Ingress.Example.com", "ingress.example.com")],
)
def test_a_target_is_the_same_in_any_spelling(setting, in_the_zone):
    there = (record(target=in_the_zone), record("globex", GLOBEX, target=in_the_zone))
    whole = replace(seen("active", schema=True, role=True), records=there)
    assert kinds(whole, target=setting) == set()


@pytest.mark.parametrize("state", ["active", "suspended", "deleted"])
@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ({}, "schema and role"),
        ({"role": True}, "schema"),
        ({"schema": True}, "role"),
    ],
)
def test_a_tenant_without_schema_or_role_is_listed_with_what_is_missing(state, there, missing):
    records = WHOLE[state].get("records", ())
    (finding,) = findings(seen(state, **there, records=records), dns_target=TARGET)
    assert (finding.kind, finding.subject) == (Kind.TENANT_WITHOUT_SCHEMA, SCHEMA)
    assert finding.detail == f"it is {state}, and its {missing} is missing or not ours"


@pytest.mark.parametrize("state", ["provisioning", "deleting", "purging"])
def test_a_tenant_on_its_way_needs_an_operation(state):
    assert kinds(seen(state)) == {("tenant_without_operation", "acme")}
    assert kinds(seen(state, operation=RUNNING)) == set()


@pytest.mark.parametrize(
    ("state", "idle", "stuck"),
    [
        ("parked", False, True),
        ("running", True, True),
        ("pending", True, True),
        ("unwinding", True, True),
        ("running", False, False),
        ("pending", False, False),
    ],
)
def test_an_operation_is_stuck_if_it_is_parked_or_due_for_long(state, idle, stuck):
    operation = SeenOperation(uuid4(), "provision", OperationState(state), idle)
    expected = {("operation_stuck", str(operation.id))} if stuck else set()
    assert kinds(seen("provisioning", operation=operation)) == expected


def test_the_findings_come_in_one_order():
    left = seen(None, schema=True, role=True, records=(record("zeta"), record("alpha")))
    found = findings(left, dns_target=TARGET)
    assert [(f.kind, f.subject) for f in found] == [
        (Kind.RECORD_WITHOUT_TENANT, "alpha"),
        (Kind.RECORD_WITHOUT_TENANT, "zeta"),
        (Kind.ROLE_WITHOUT_TENANT, SCHEMA),
        (Kind.SCHEMA_WITHOUT_TENANT, SCHEMA),
    ]
    assert {f.detail for f in found} == {"there is no such tenant"}


@pytest.mark.parametrize(
    ("found", "due"),
    [
        ([Kind.RECORD_MISSING], [Kind.RECORD_MISSING]),
        ([Kind.RECORD_MISSING, Kind.TENANT_WITHOUT_SCHEMA], []),
        ([Kind.RECORD_MISSING, Kind.RECORD_WITHOUT_TENANT], [Kind.RECORD_WITHOUT_TENANT]),
        (
            [Kind.SCHEMA_WITHOUT_TENANT, Kind.ROLE_WITHOUT_TENANT],
            [Kind.ROLE_WITHOUT_TENANT, Kind.SCHEMA_WITHOUT_TENANT],
        ),
        ([Kind.RECORD_WITHOUT_TENANT, Kind.TENANT_WITHOUT_SCHEMA], [Kind.RECORD_WITHOUT_TENANT]),
        ([Kind.OPERATION_STUCK, Kind.TENANT_WITHOUT_OPERATION], []),
    ],
)
def test_one_operation_sets_right_the_orphans_of_a_tenant_or_its_missing_record(found, due):
    beside = Finding(Kind.RECORD_MISSING, "globex", GLOBEX, "")
    told = [Finding(kind, "acme", ACME, "") for kind in found]
    plan = repairable([beside, *told])
    assert plan.pop(GLOBEX) == [beside]
    assert [finding.kind for finding in plan.get(ACME, [])] == due


def test_a_mark_counts_only_on_its_own_tenants_name_and_for_its_installation():
    mark = str(Mark(INSTALLATION, ACME, uuid4()))
    assert tenant_marked(SCHEMA, mark, INSTALLATION) == ACME
    assert tenant_marked(schema_name(GLOBEX), mark, INSTALLATION) is None
    assert tenant_marked(SCHEMA, mark, uuid4()) is None
    assert tenant_marked(SCHEMA, None, INSTALLATION) is None
    assert tenant_marked(SCHEMA, f"{mark} ", INSTALLATION) is None


def test_only_what_has_no_tenant_or_a_dead_one_is_an_orphan():
    orphaned = {state for state in TenantState if schema_is_orphan(state)}
    assert orphaned == {"failed", "purged"}
    assert schema_is_orphan(None)
    nameless = {state for state in TenantState if record_is_orphan("acme", "acme", state)}
    assert nameless == {"failed", "purged", "deleted"}
    assert record_is_orphan("acme", None, None)
    assert all(record_is_orphan("old", "acme", state) for state in TenantState)


def test_every_kind_has_a_remedy():
    assert set(REMEDIES) == set(Kind)


@pytest.mark.parametrize("state", ["running", "unwinding"])
def test_an_operation_long_after_its_deadline_is_told_whether_it_is_claimed_or_not(state):
    late = replace(RUNNING, state=OperationState(state), late=True)
    assert kinds(seen("active", **WHOLE["active"], operation=late)) == {
        ("operation_stuck", str(late.id))
    }


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {("tenant_behind", "acme")}),
        ({"frozen": True}, set()),
        ({"revision": "new"}, set()),
        ({"revision": None}, set()),
        ({"operation": RUNNING}, set()),
    ],
)
def test_a_tenant_behind_the_template_is_told_unless_it_is_to_stay(changes, found):
    whole = seen("active", **WHOLE["active"])
    behind = replace(tenant("active"), **{"revision": "old", **changes})
    at_head = replace(whole.tenants[GLOBEX], revision="new")
    all_of_them = replace(whole, tenants={ACME: behind, GLOBEX: at_head})
    assert kinds(replace(all_of_them, newest="new")) == found
    # A rollout is under way.
    assert kinds(all_of_them) == set()


def test_of_very_many_behind_some_are_told():
    many = {
        (id_ := uuid4()): SeenTenant(id_, Subdomain(f"t{n}"), TenantState.DELETED, None, "old")
        for n in range(150)
    }
    there = frozenset(many)
    found = findings(Seen(many, there, there, (), newest="new"), dns_target=None)
    assert len(found) == 100
    assert repairable(found) == {}


@pytest.mark.parametrize(
    ("state", "told"), [("active", True), ("suspended", True), ("deleted", False)]
)
def test_a_served_tenant_without_its_admin_is_told(state, told):
    lacking = replace(seen(state, **WHOLE[state]), without_admin=frozenset({ACME}))
    assert kinds(lacking) == ({("tenant_without_admin", "acme")} if told else set())
