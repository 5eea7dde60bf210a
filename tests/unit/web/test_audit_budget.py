"""Whoever is refused cannot fill a tenant's log."""

from uuid import UUID

from controlplane.web.audit_budget import AuditBudget

ACME, GLOBEX = UUID(int=7), UUID(int=8)


def test_each_tenant_has_so_many_rows_a_minute_and_the_rest_is_told_at_its_end() -> None:
    budget = AuditBudget(rows=2, window_s=60)
    attempts = [
        (budget.has_room(ACME, 100), budget.take(ACME, action, 100))
        for action in ("a", "a", "a", "b", "a")
    ]
    assert attempts == [(True, True)] * 2 + [(False, False)] * 3
    assert budget.take(GLOBEX, "a", 130)
    assert budget.next_end() == 160
    assert budget.ended(159) == []
    assert budget.ended(160) == [(ACME, {"a": 2, "b": 1})]
    assert budget.next_end() is None


def test_a_window_that_left_nothing_out_ends_untold() -> None:
    budget = AuditBudget(rows=2, window_s=60)
    assert budget.take(ACME, "a", 100)
    assert budget.next_end() is None
    assert budget.has_room(ACME, 160)
    assert budget.take(ACME, "a", 160)
    assert budget.take(ACME, "a", 219)
    assert not budget.take(ACME, "a", 219)
    assert budget.ended(220) == [(ACME, {"a": 1})]


def test_a_window_goes_on_until_its_rest_was_told() -> None:
    budget = AuditBudget(rows=1, window_s=60)
    assert budget.take(ACME, "a", 100)
    assert not budget.take(ACME, "a", 101)
    assert not budget.take(ACME, "a", 1_000)
    assert budget.ended(1_000) == [(ACME, {"a": 2})]
    assert budget.take(ACME, "a", 1_000)
