"""The plans: which steps, in which order, and from which one there is no way back.

A plan is copied into the operation that follows it. Change a plan by giving it a new version, and
keep the old one here until no operation follows it any more.
"""

from typing import Any

from controlplane.domain.operations import Action, Plan, PlanStep, Reach
from controlplane.domain.tenants import TenantState

PROVISION = Plan(
    "provision",
    1,
    (
        PlanStep("schema", Action.ENSURE, Reach.LOCAL),
        PlanStep("admin", Action.ENSURE, Reach.LOCAL),
        PlanStep("dns", Action.ENSURE, Reach.REMOTE),
        PlanStep("verify", Action.ENSURE, Reach.REMOTE),
        PlanStep("activate", Action.ENSURE, Reach.LOCAL, pivot=True),
    ),
    rolled_back=TenantState.FAILED,
)

# Soft: the schema stays for the grace period. A delete that cannot be finished gives the tenant
# back as it was.
DEPROVISION = Plan(
    "deprovision",
    1,
    (
        PlanStep("dns", Action.ABSENT, Reach.REMOTE),
        PlanStep("sessions", Action.ABSENT, Reach.LOCAL),
        PlanStep("retire", Action.ENSURE, Reach.LOCAL, pivot=True),
    ),
    rolled_back=None,
)

# Its pivot comes first: what is purged is never given back, so an undo would have to make it anew.
PURGE = Plan(
    "purge",
    1,
    (
        PlanStep("condemn", Action.ENSURE, Reach.LOCAL, pivot=True),
        PlanStep("dns", Action.ABSENT, Reach.REMOTE),
        PlanStep("schema", Action.ABSENT, Reach.LOCAL),
        PlanStep("bury", Action.ENSURE, Reach.LOCAL),
    ),
    rolled_back=None,
)

SUSPEND = Plan(
    "suspend",
    1,
    (PlanStep("suspend", Action.ENSURE, Reach.LOCAL, pivot=True),),
    rolled_back=None,
)

# Nobody is let in before the tenant was looked at as an app server would.
RESUME = Plan(
    "resume",
    1,
    (
        PlanStep("verify", Action.ENSURE, Reach.REMOTE),
        PlanStep("serve", Action.ENSURE, Reach.LOCAL, pivot=True),
    ),
    rolled_back=None,
)

RESTORE = Plan(
    "restore",
    1,
    (
        PlanStep("dns", Action.ENSURE, Reach.REMOTE),
        PlanStep("verify", Action.ENSURE, Reach.REMOTE),
        PlanStep("serve", Action.ENSURE, Reach.LOCAL, pivot=True),
    ),
    rolled_back=None,
)

# Its pivot comes first: a repair puts back what is missing, and must not take it away again.
REPAIR = Plan(
    "repair",
    1,
    (
        PlanStep("inspect", Action.ENSURE, Reach.LOCAL, pivot=True),
        PlanStep("upgrade", Action.ENSURE, Reach.LOCAL),
        PlanStep("admin", Action.ENSURE, Reach.LOCAL),
        PlanStep("dns", Action.ENSURE, Reach.REMOTE),
        PlanStep("verify", Action.ENSURE, Reach.REMOTE),
    ),
    rolled_back=None,
)

WELCOME = Plan(
    "welcome",
    1,
    (PlanStep("welcome", Action.ENSURE, Reach.LOCAL, pivot=True),),
    rolled_back=None,
)

# Up to its pivot the tenant is served under the old name alone, from it on under the new one alone.
# Nothing is verified: a rename touches no schema.
RENAME = Plan(
    "rename",
    1,
    (
        PlanStep("new_record", Action.ENSURE, Reach.REMOTE),
        PlanStep("switch", Action.ENSURE, Reach.LOCAL, pivot=True),
        PlanStep("old_record", Action.ABSENT, Reach.REMOTE),
    ),
    rolled_back=None,
)

# Takes away what nobody owns any more. Its pivot comes first, for an orphan is never put back; the
# tenant keeps its state.
CLEAN = Plan(
    "clean",
    1,
    (
        PlanStep("disown", Action.ENSURE, Reach.LOCAL, pivot=True),
        PlanStep("orphan_record", Action.ABSENT, Reach.REMOTE),
        PlanStep("orphan_schema", Action.ABSENT, Reach.LOCAL),
    ),
    rolled_back=None,
)

PLANS = (PROVISION, DEPROVISION, PURGE, SUSPEND, RESUME, RESTORE, REPAIR, WELCOME, RENAME, CLEAN)


# Of the time that an operation has, what a step may take of it before it is given up: so much is
# left for another, and a rollback begins before everybody has stopped waiting.
_SHARE = {Reach.LOCAL: 0.4, Reach.REMOTE: 0.6}


def plan_to_json(plan: Plan, *, deadline_s: float | None = None) -> dict[str, Any]:
    """The plan as it is pinned in the row of an operation that has so many seconds."""
    steps = [
        {
            "name": step.name,
            "action": step.action,
            "reach": step.reach,
            "pivot": step.pivot,
            "deadline_s": step.deadline_s or (deadline_s and deadline_s * _SHARE[step.reach]),
        }
        for step in plan.steps
    ]
    return {"steps": steps, "rolled_back": plan.rolled_back}


def plan_from_json(kind: str, version: int, pinned: dict[str, Any]) -> Plan:
    """The plan of an operation's row. Earlier releases pinned no deadlines of steps."""
    steps = tuple(
        PlanStep(s["name"], Action(s["action"]), Reach(s["reach"]), s["pivot"], s.get("deadline_s"))
        for s in pinned["steps"]
    )
    back = pinned["rolled_back"]
    return Plan(kind, version, steps, TenantState(back) if back else None)
