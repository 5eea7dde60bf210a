"""The queue before a provider: who goes when, at a time of its own."""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from random import Random

import pytest

from controlplane.domain.turns import Pace, Queue

S = 1_000_000
PACE = Pace(limit=5, window_us=S)


@dataclass
class Hall:
    """Everybody is a number."""

    queue: Queue = field(default_factory=Queue)
    now_us: int = 10**15
    went: list[int] = field(default_factory=list)

    def take(self, holder: int, requests: int = 1) -> int:
        """0, or the microseconds to wait."""
        asked = self.queue.take(holder, requests=requests, now_us=self.now_us, pace=PACE)
        self.queue, turn = asked
        if not turn.has_come:
            return turn.in_us
        self.went += [self.now_us + turn.in_us] * requests
        return 0

    def most_at_once(self) -> int:
        went = sorted(self.went)
        return max(bisect_right(went, at + S - 1) - place for place, at in enumerate(went))


def test_as_many_go_at_once_as_a_second_allows() -> None:
    hall = Hall()
    told = [hall.take(number) for number in range(8)]
    assert told[:5] == [0] * 5
    gap = PACE.each_us
    assert told[5:] == [S, S + gap, S + 2 * gap]


def test_who_comes_when_he_was_told_goes() -> None:
    hall = Hall()
    begun = hall.now_us
    told = {number: hall.take(number) for number in range(50)}
    for number, wait_us in told.items():
        hall.now_us = begun + wait_us
        assert wait_us == 0 or hall.take(number) == 0
    assert hall.queue.waiting == ()
    assert hall.most_at_once() == 5


def test_who_comes_too_early_keeps_his_place_and_is_told_the_rest() -> None:
    hall = Hall()
    waits = [hall.take(number) for number in range(20)]
    hall.now_us += S // 2
    assert hall.take(19) == pytest.approx(waits[19] - S // 2, abs=PACE.each_us)
    assert [one.holder for one in hall.queue.waiting] == list(range(5, 20))


def test_who_has_no_place_goes_behind_all_who_are_expected() -> None:
    hall = Hall()
    for number in range(7):
        hall.take(number)
    hall.now_us += S
    assert hall.take(99) > 0
    assert [hall.take(5), hall.take(6)] == [0, 0]
    assert [hall.take(98), hall.take(99)] == [PACE.each_us, 0]


def test_who_does_not_come_holds_nobody_up() -> None:
    hall = Hall()
    waits = [hall.take(number) for number in range(30)]
    hall.now_us += waits[-1] + 2 * S
    assert hall.take(29) == 0
    assert hall.take(99) == 0, "a newcomer, while all the places are of people who are late"


def test_who_is_late_still_goes_before_those_who_came_after_him() -> None:
    hall = Hall()
    for number in range(30):
        hall.take(number)
    hall.now_us += 60 * S
    assert [hall.take(number) for number in range(20, 25)] == [0] * 5
    first, second = hall.take(5), hall.take(29)
    assert first < 1.1 * S
    assert second > 3 * S


def test_a_place_is_given_up_after_some_minutes() -> None:
    hall = Hall()
    for number in range(6):
        hall.take(number)
    hall.now_us += 700 * S
    hall.take(99)
    assert hall.queue.waiting == ()


def test_a_clock_that_is_set_holds_nobody_up_for_long() -> None:
    hall = Hall()
    for number in range(6):
        hall.take(number)
    hall.now_us -= 48 * 3600 * S
    assert hall.take(99) == 0


def test_a_turn_in_vain_is_put_before_all_others() -> None:
    hall = Hall()
    for number in range(20):
        hall.take(number)
    hall.queue = hall.queue.put_first(3, requests=1, now_us=hall.now_us)
    hall.queue = hall.queue.put_first(3, requests=1, now_us=hall.now_us)
    assert [one.holder for one in hall.queue.waiting] == [3, *range(5, 20)]
    hall.now_us += S
    assert hall.take(3) == 0


def test_several_requests_go_together_or_not_at_all() -> None:
    hall = Hall()
    assert hall.take(1, requests=3) == 0
    assert hall.take(2, requests=3) == S
    assert len(hall.queue.went) == 3
    hall.now_us += S
    assert hall.take(2, requests=3) == 0


def test_who_wants_several_at_once_is_not_passed_by_all_who_want_one() -> None:
    hall = Hall()
    begun = hall.now_us
    due = [(begun + hall.take(number), number) for number in range(10)]
    due.append((begun + hall.take(100, requests=3), 100))
    due += [(begun + hall.take(number), number) for number in range(11, 60)]
    heapify(due)
    order = []
    while due:
        hall.now_us, number = heappop(due)
        wait_us = hall.take(number, requests=3 if number == 100 else 1) if number > 4 else 0
        if wait_us:
            heappush(due, (hall.now_us + wait_us, number))
        else:
            order.append(number)
    assert order.index(100) <= 14
    assert hall.most_at_once() == 5


@dataclass
class Crowd:
    """Tenants of whom each makes two requests, one after the other, and the workers that look after
    them: whoever is due first has one first, for a while that varies."""

    chance: Random
    look_us: int
    slots: list[int] = field(default_factory=lambda: [0] * 4)
    looks: Counter[int] = field(default_factory=Counter)
    ended: list[int] = field(default_factory=list)

    def run(self, hall: Hall, *, tenants: int, joining_us: int) -> None:
        """First all join, and nobody is looked after meanwhile."""
        begun, due = hall.now_us, []
        for number in range(tenants):
            hall.now_us = begun + number * joining_us // tenants
            wait_us = self._look(hall, number, 1)
            due.append((hall.now_us + (wait_us or S), number, 1 if wait_us else 2))
        self.slots = [hall.now_us] * 4
        heapify(due)
        while due:
            at, number, request = heappop(due)
            late_us = self.chance.randrange(100_000)
            hall.now_us = max(hall.now_us, at + late_us, self.slots[0])
            heapreplace(self.slots, hall.now_us + self.chance.randrange(2 * self.look_us))
            wait_us = self._look(hall, number, request)
            if wait_us == 0 and request == 2:
                self.ended.append(number)
                continue
            request += wait_us == 0
            heappush(due, (hall.now_us + (wait_us or S), number, request))

    def _look(self, hall: Hall, number: int, request: int) -> int:
        self.looks[number] += 1
        return hall.take(2 * number + request, requests=1)


# How long one look takes a worker, and how far places may be changed then: all in order while workers
# have time, and nearly so where they are what everybody waits for.
@pytest.mark.parametrize(
    ("joining_s", "look_us", "moved"),
    [
        pytest.param(1, 20_000, 0, id="idle"),
        pytest.param(40, 20_000, 5, id="behind"),
        pytest.param(40, 400_000, 50, id="overloaded"),
    ],
)
def test_three_hundred_at_once_are_served_in_order_and_looked_after_a_few_times_each(
    joining_s: int, look_us: int, moved: int
) -> None:
    hall, crowd = Hall(), Crowd(Random(7), look_us)  # noqa: S311  no secret
    begun = hall.now_us
    crowd.run(hall, tenants=300, joining_us=joining_s * S)
    assert hall.most_at_once() <= 5
    assert len(hall.went) == 600
    assert max(abs(place - number) for place, number in enumerate(crowd.ended)) <= moved
    assert crowd.looks.total() <= 7 * 300
    assert max(crowd.looks.values()) <= 10
    # Turns are hardly left unused.
    assert hall.now_us - begun <= (joining_s + 1.1 * 600 / 5) * S or look_us > 20_000
