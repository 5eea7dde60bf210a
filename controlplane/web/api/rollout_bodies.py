"""What the API is told and tells of rollouts."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from controlplane.domain.rings import MOST_RINGS, USUAL, parse_rings
from controlplane.domain.rollouts import (
    ENDED,
    Ask,
    Policy,
    RolloutState,
    TargetState,
    answer,
    parse_budget,
)
from controlplane.errors import FieldFault, ValidationFailed
from controlplane.fleet.planning import RolloutPlan
from controlplane.store.rollout_progress import Progress
from controlplane.store.rollouts import Rollout, Target
from controlplane.tenancy.template import Template
from controlplane.web.api.bodies import failed

ROLLOUTS = "/api/admin/rollouts"
_WEEK_S = 604_800

RingText = Annotated[
    str,
    Meta(
        description="`name=5%`, `name=tier:starter`, `name=tag:beta` or `name=list:acme,globex`.",
        examples=["canary=1%"],
        max_length=10_000,
    ),
]
Rings = Annotated[
    list[RingText],
    Meta(description="In their order; one for everybody else is added.", max_length=MOST_RINGS),
]
BudgetText = Annotated[
    str,
    Meta(
        description="How many of a ring may fail: a number, or a share such as `2%`.",
        examples=["0"],
        pattern=r"^[0-9]{1,6}$|^([0-9]{1,2}|100)%$",
    ),
]


class PolicyBody(Struct, forbid_unknown_fields=True):
    """How a rollout goes about it."""

    rings: Rings = msgspec.field(default_factory=lambda: list(USUAL))
    failure_budget: BudgetText = "0"
    soak_s: Annotated[float, Meta(ge=0, le=_WEEK_S, description="Seconds between rings.")] = 0
    max_parallel: Annotated[
        int, Meta(ge=1, le=64, description="Transactions at once, over all workers.")
    ] = 2
    lock_timeout_ms: Annotated[
        int, Meta(ge=1, le=10_000, description="For so long an upgrade queues for a lock.")
    ] = 200
    statement_timeout_s: Annotated[
        int, Meta(ge=1, le=86_400, description="For so long one statement may take.")
    ] = 600
    attempts: Annotated[int, Meta(ge=1, le=1000, description="So often a lock is asked for.")] = 20
    rest: Annotated[bool, Meta(description="Whether a last ring takes in everybody else.")] = True
    to: (
        Annotated[
            str,
            Meta(
                description="An older revision to go back to: one of each chain that goes back, with"
                " commas between. Default: the newest.",
                examples=["app_0004"],
                max_length=200,
                pattern=r"^[\w,-]+$",
            ),
        ]
        | None
    ) = None
    template_digest: (
        Annotated[
            str,
            Meta(
                description="Of the tenant template that is meant, as a rollout's `template_digest` says it:"
                " an API with another refuses.",
                pattern=r"^[0-9a-f]{64}$",
            ),
        ]
        | None
    ) = None

    def parsed(self) -> Policy:
        """Raises ValidationFailed with every fault."""
        faults: list[FieldFault] = []
        try:
            rings = parse_rings(self.rings, rest=self.rest)
        except ValidationFailed as error:
            faults += error.faults
        try:
            budget = parse_budget(self.failure_budget)
        except ValidationFailed as error:
            faults += error.faults
        if faults:
            raise failed(faults)
        return Policy(
            rings,
            budget,
            soak_s=self.soak_s,
            max_parallel=self.max_parallel,
            lock_timeout_ms=self.lock_timeout_ms,
            statement_timeout_s=self.statement_timeout_s,
            attempts=self.attempts,
        )


class RingSizeBody(Struct):
    """A ring, and how many tenants it has."""

    name: str
    targets: int


class PathBody(Struct):
    """How tenants at one revision get to the rollout's: `sql` with placeholders, or online, by Alembic;
    `lost` is what a way back does away with for good."""

    revision: str
    targets: int
    online: bool
    sql: list[str]
    lost: list[str]


class WarningBody(Struct):
    """A statement that may hurt while tenants are served."""

    rule: str
    statement: str
    why: str
    remedy: str


class PlanBody(Struct):
    """What a rollout would do; `back`: to an older revision, before which `older` tenants lie, who stay. `locks_per_target` is at
    most so many; `lock_room` what the server has for all. `estimated_s` counts the soaks too."""

    revision: str
    back: bool
    targets: int
    at_revision: int
    older: int
    rings: list[RingSizeBody]
    paths: list[PathBody]
    warnings: list[WarningBody]
    connections: int
    locks_per_target: int
    lock_room: int
    estimated_s: float


class RingBody(Struct):
    """How far a ring is. `waiting` of the `pending` were tried, or wait for an operation."""

    name: str
    pending: int
    waiting: int
    done: int
    failed: int
    skipped: int


class RolloutBody(Struct):
    """A rollout and how far it is. `error` says why it was halted; `ring` is the one under way,
    `back`: to an older revision. `template_digest` is that of the release whose workers carry it out; `other_release`: not this API's."""

    id: UUID
    state: RolloutState
    revision: str
    template_digest: str
    other_release: bool
    back: bool
    ring: str
    rings: list[RingBody]
    failure_budget: str
    max_parallel: int
    soak_s: float
    soaks_for_s: float
    per_s: float
    eta_s: float | None
    error: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None
    links: dict[str, str]


class RolloutPage(Struct):
    items: list[RolloutBody]
    next_cursor: str | None


class TargetBody(Struct):
    """One tenant of a rollout; `error` says why it failed, was skipped or waits."""

    tenant_id: UUID
    subdomain: str
    ring: str
    state: TargetState
    from_revision: str | None
    attempt: int
    error: dict[str, Any] | None
    finished_at: datetime | None


class TargetPage(Struct):
    """By tenant id; `next_after` is the `after` of the next page."""

    items: list[TargetBody]
    next_after: UUID | None


def plan_body(plan: RolloutPlan) -> PlanBody:
    """A plan as it is shown."""
    rings = zip(plan.policy.rings, plan.ring_sizes, strict=True)
    return PlanBody(
        revision=plan.revision,
        back=plan.policy.back,
        targets=plan.targets,
        at_revision=plan.at_revision,
        older=plan.older,
        rings=[RingSizeBody(ring.name, size) for ring, size in rings],
        paths=[
            PathBody(p.revision, p.tenants, p.online, list(p.sql), list(p.lost)) for p in plan.paths
        ],
        warnings=[WarningBody(w.rule, w.statement, w.why, w.remedy) for w in plan.warnings],
        connections=plan.policy.max_parallel,
        locks_per_target=plan.trial.locks,
        lock_room=plan.trial.lock_room,
        estimated_s=round(plan.seconds, 1),
    )


def rollout_body(rollout: Rollout, progress: Progress, template: Template) -> RolloutBody:
    """A rollout as an API with this template shows it."""
    address = f"{ROLLOUTS}/{rollout.id}"
    links = {"self": address, "events": f"{address}/events", "targets": f"{address}/targets"}
    asks = [ask for ask in Ask if answer(ask, rollout.state) is not None]
    eta_s = None if rollout.state is not RolloutState.RUNNING else progress.eta_s
    return RolloutBody(
        id=rollout.id,
        state=rollout.state,
        revision=rollout.revision,
        template_digest=rollout.digest,
        other_release=rollout.digest != template.digest,
        back=rollout.policy.back,
        ring=rollout.policy.rings[rollout.ring].name,
        rings=[
            RingBody(r.name, r.pending, r.waiting, r.done, r.failed, r.skipped)
            for r in progress.rings
        ],
        failure_budget=str(rollout.policy.budget),
        max_parallel=rollout.policy.max_parallel,
        soak_s=rollout.policy.soak_s,
        soaks_for_s=round(progress.soaks_for_s, 1),
        per_s=0.0 if rollout.state in ENDED else round(progress.per_s, 1),
        eta_s=None if eta_s is None else round(eta_s, 1),
        error=rollout.error,
        created_at=rollout.created_at,
        finished_at=rollout.finished_at,
        links=links | {ask.value: f"{address}/{ask}" for ask in asks},
    )


def target_body(target: Target, rollout: Rollout) -> TargetBody:
    """A target as it is shown."""
    return TargetBody(
        tenant_id=target.tenant_id,
        subdomain=target.subdomain,
        ring=rollout.policy.rings[target.ring].name,
        state=target.state,
        from_revision=target.from_revision,
        attempt=target.attempt,
        error=target.error,
        finished_at=target.finished_at,
    )
