"""Whatever is asked, breaks, freezes and dies, in whatever order: all ends as a pure model says.

The journal is looked over after every step of every example, the whole world at its end. Here the
examples are the same in every run; `--deep N` explores N new and longer ones.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from controlplane.domain.operations import Reach
from controlplane.errors import (
    Permanent,
    ProviderRefused,
    ProviderUnavailable,
    SendUncertain,
    Transient,
)
from controlplane.provisioning.plans import PLANS
from controlplane_emails.memory import Fault as MailFault
from tests.database import Database
from tests.engine.hands import FOREVER, Fault
from tests.engine.model import ACCEPTED_FROM
from tests.engine.stage import Stage, open_stage

# Few, so that they collide.
NAMES = st.sampled_from(["acme", "initech", "hooli"])
TENANTS_AT_MOST = 4
REMOTE = sorted({s.name for p in PLANS for s in p.steps if s.reach is Reach.REMOTE})
LOCAL = sorted({s.name for p in PLANS for s in p.steps if s.reach is Reach.LOCAL})
# A call that is cut off may have taken effect all the same.
WEATHER = st.one_of(
    st.tuples(st.sampled_from(REMOTE), st.sampled_from([Transient, Permanent, TimeoutError])),
    st.tuples(st.sampled_from(LOCAL), st.sampled_from([Transient, Permanent])),
)
MAIL = st.sampled_from(
    [
        MailFault(ProviderUnavailable("away")),
        MailFault(ProviderRefused("no such mailbox")),
        MailFault(SendUncertain("cut off"), after_effect=True),
        MailFault(TimeoutError(), after_effect=True),
    ]
)
INDEX = st.integers(min_value=0, max_value=9)
PLACES = st.integers(min_value=0, max_value=16)


class Machine(RuleBasedStateMachine):
    """`do` runs a coroutine of the stage to its end."""

    def __init__(self, stage: Stage, do: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__()
        self.stage, self.do = stage, do

    def _live(self) -> list[UUID]:
        return self.stage.model.live()

    @precondition(lambda self: len(self.stage.model.tenants) < TENANTS_AT_MOST)
    @rule(name=NAMES)
    def create(self, name: str) -> None:
        self.do(self.stage.create(name))

    @precondition(lambda self: len(self.stage.model.tenants) < TENANTS_AT_MOST)
    @rule(name=NAMES)
    def a_tenant_is_made_in_good_weather(self, name: str) -> None:
        before = len(self.stage.model.tenants)
        self.stage.heal()
        self.do(self.stage.create(name))
        if len(self.stage.model.tenants) > before:
            self.do(self.stage.work(self._live()[-1]))

    @precondition(lambda self: self.stage.model.tenants)
    @rule(what=st.sampled_from(sorted(ACCEPTED_FROM)), index=INDEX, name=NAMES)
    def ask(self, what: str, index: int, name: str) -> None:
        self.do(self.stage.ask(what, _at(list(self.stage.model.tenants), index), name))

    @precondition(lambda self: self.stage.model.tenants)
    @rule(index=INDEX, pick=INDEX, name=NAMES)
    def ask_what_its_state_allows(self, index: int, pick: int, name: str) -> None:
        model = self.stage.model
        idle = [key for key in model.tenants if not model.live(key)]
        for tenant in idle[index % len(idle) :][:1] if idle else []:
            state = model.tenants[tenant].state
            asks = [ask for ask, states in sorted(ACCEPTED_FROM.items()) if state in states]
            if asks:
                self.do(self.stage.ask(_at(asks, pick), tenant, name))

    @precondition(lambda self: self.stage.model.held)
    @rule()
    def nobody_is_kept_from_a_name_any_more(self) -> None:
        self.do(self.stage.outlast_holds())

    @precondition(lambda self: self.stage.model.operations)
    @rule(index=INDEX)
    def cancel(self, index: int) -> None:
        self.do(self.stage.cancel(_at(list(reversed(self.stage.model.operations)), index)))

    @precondition(lambda self: self._live())
    @rule(index=INDEX)
    def a_worker_goes_the_whole_way(self, index: int) -> None:
        operation = _at(self._live(), index)
        self.do(self.stage.expire(operation))
        self.do(self.stage.work(operation))

    @precondition(lambda self: self._live())
    @rule(index=INDEX, left=PLACES, dies=st.booleans())
    def a_worker_goes_some_way(self, index: int, left: int, *, dies: bool) -> None:
        """And then freezes or dies. Others' leases have not run out."""
        self.do(self.stage.work(_at(self._live(), index), left=left, dies=dies))

    @precondition(lambda self: self._live())
    @rule(index=INDEX, left=PLACES, then=PLACES, dies=st.booleans())
    def a_worker_is_overtaken(self, index: int, left: int, then: int, *, dies: bool) -> None:
        """It freezes somewhere, another one takes over, and goes some way; then it wakes up."""
        operation = _at(self._live(), index)
        before = list(self.stage.hands)
        self.do(self.stage.expire(operation))
        self.do(self.stage.work(operation, left=left))
        frozen = [hand for hand in self.stage.hands if hand not in before]
        self.do(self.stage.expire(operation))
        if operation in self._live():
            self.do(self.stage.work(operation, left=then, dies=dies))
        for hand in frozen:
            self.do(self.stage.thaw(hand))

    @precondition(lambda self: self._live())
    @rule(index=INDEX)
    def a_lease_runs_out(self, index: int) -> None:
        self.do(self.stage.expire(_at(self._live(), index)))

    @precondition(lambda self: self.stage.hands)
    @rule(index=INDEX, left=st.one_of(st.just(FOREVER), PLACES), dies=st.booleans())
    def a_frozen_worker_goes_on(self, index: int, left: int, *, dies: bool) -> None:
        self.do(self.stage.thaw(_at(self.stage.hands, index), left=left, dies=dies))

    @precondition(lambda self: any(hand.in_transaction for hand in self.stage.hands))
    @rule()
    def idle_transactions_are_ended(self) -> None:
        self.do(self.stage.cut())

    @rule(weather=WEATHER, after_effect=st.booleans())
    def a_step_breaks(self, weather: tuple[str, type[Exception]], *, after_effect: bool) -> None:
        step, error = weather
        self.stage.weather[step] = Fault(error, after_effect)

    @rule(fault=MAIL)
    def mail_breaks_once(self, fault: MailFault) -> None:
        self.stage.lab.sender.faults.append(MailFault(fault.error, fault.after_effect))

    @precondition(lambda self: self.stage.weather)
    @rule()
    def the_weather_clears(self) -> None:
        self.stage.heal()

    @rule(dies_at=st.sampled_from([None, "mail:after-intent", "mail:after-send"]))
    def mail_goes_out(self, dies_at: str | None) -> None:
        self.do(self.stage.post(dies_at=dies_at))

    @precondition(lambda self: self.do(self.stage.parked()))
    @rule(index=INDEX)
    def a_parked_operation_is_resumed(self, index: int) -> None:
        self.do(self.stage.resume(_at(self.do(self.stage.parked()), index)))

    @precondition(lambda self: self.do(self.stage.parked()))
    @rule(index=INDEX)
    def a_parked_operation_is_abandoned(self, index: int) -> None:
        self.do(self.stage.abandon(_at(self.do(self.stage.parked()), index)))

    @rule()
    def the_reaper_sweeps(self) -> None:
        self.do(self.stage.sweep())

    @invariant()
    def the_journal_holds(self) -> None:
        self.do(self.stage.check())

    def teardown(self) -> None:
        try:
            self.do(self.stage.come_to_rest())
            for known in self.stage.model.operations.values():
                event(f"{known.kind} {known.ended}")
        finally:
            self.do(self.stage.clear())


def _at(found: list[Any], index: int) -> Any:
    return found[index % len(found)]


@pytest.fixture
def staged(database: Database, tmp_path: Path) -> Iterator[tuple[Stage, Callable[..., Any]]]:
    """One control plane and one event loop for all examples: each clears up behind itself."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        opening = stack.enter_async_context(open_stage(database, tmp_path))
        try:
            yield runner.run(opening), runner.run
        finally:
            runner.run(stack.aclose())


@pytest.mark.timeout(900)
def test_whatever_happens_all_ends_as_the_model_says(staged, request):
    deep = request.config.getoption("--deep")
    chosen = settings(
        max_examples=deep or 12,
        stateful_step_count=60 if deep else 30,
        derandomize=not deep,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        # Shrinking costs minutes; it is for whoever looks for the cause.
        phases=[Phase.generate, Phase.shrink] if deep else [Phase.generate],
    )
    machine: Any = partial(Machine, *staged)
    run_state_machine_as_test(machine, settings=chosen)
