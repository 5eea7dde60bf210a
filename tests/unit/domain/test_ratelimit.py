"""Counting by slices, held against a log of every request."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.ratelimit import SLICES, Count, Quota, Standing, Verdict, judge

ACME = Quota("tenant:acme", 5)
# Sixteenths of a second: sums of them are exact, so that the log may be asked for "less than".
steps = st.lists(st.integers(0, 16 * 70).map(lambda sixteenths: sixteenths / 16), max_size=60)


def admitted_at(times: list[float], quota: Quota) -> list[float]:
    """At which of these times a request is admitted."""
    count, found = Count(), []
    for now_s in times:
        verdict, (count,) = judge([quota], [count], now_s)
        if verdict.admitted:
            found.append(now_s)
    return found


@given(steps, st.integers(1, 8))
def test_no_stretch_of_a_windows_length_sees_more_than_the_limit(
    passed: list[float], limit: int
) -> None:
    quota = Quota("k", limit)
    found = admitted_at([1_700_000_000 + at for at in accumulate(passed)], quota)
    for before, after in zip(found, found[limit:], strict=False):
        assert after - before >= quota.window_s


@given(steps, st.integers(1, 8))
def test_nobody_is_refused_without_having_used_the_limit_within_a_window_and_a_slice(
    passed: list[float], limit: int
) -> None:
    quota = Quota("k", limit)
    times = [1_700_000_000 + at for at in accumulate(passed)]
    found = admitted_at(times, quota)
    slice_s = quota.window_s / SLICES
    for now_s in times:
        lately = [at for at in found if now_s - quota.window_s - slice_s < at <= now_s]
        assert now_s in found or len(lately) >= limit


@pytest.mark.parametrize("window_s", [1, 60, 3_600])
def test_a_steady_caller_gets_all_but_a_slices_part_of_the_limit(window_s: int) -> None:
    quota = Quota("k", 610, window_s)
    apart = window_s / 600  # 610 * SLICES / (SLICES + 1) a window
    times = [1_000 * window_s + number * apart for number in range(2_000)]
    assert admitted_at(times, quota) == times


@given(steps)
def test_who_waits_as_long_as_he_is_told_is_admitted(passed: list[float]) -> None:
    count, now_s = Count(), 1_700_000_000.0
    for step in passed:
        now_s += step
        verdict, (count,) = judge([ACME], [count], now_s)
        if not verdict.admitted:
            later = now_s + verdict.retry_after_s
            assert judge([ACME], [count], later)[0].admitted
            assert not judge([ACME], [count], later - 1 / 16)[0].admitted


def test_a_request_that_one_quota_refuses_costs_no_other_quota_anything() -> None:
    full, open_ = Quota("principal", 1), Quota("tenant", 9)
    first, kept = judge([full, open_], [Count(), Count()], 100.0)
    again, after = judge([full, open_], kept, 100.0)
    assert first == Verdict(admitted=True, standings=(Standing(0, 61.0), Standing(8, 61.0)))
    assert again == Verdict(admitted=False, standings=(Standing(0, 61.0), Standing(8, 61.0)))
    assert after == kept


def test_whoever_is_refused_by_two_waits_for_the_later_one() -> None:
    standings = (Standing(0, 7.0), Standing(3, 50.0), None, Standing(0, 9.0))
    assert Verdict(admitted=False, standings=standings).retry_after_s == 9.0


def test_a_clock_that_is_set_back_a_little_forgets_nothing() -> None:
    _, (count,) = judge([ACME], [Count()], 1_000.0)
    verdict, _ = judge([ACME], [count], 990.0)
    assert verdict.standings == (Standing(3, 71.0),)


def test_a_clock_that_was_far_ahead_locks_nobody_out() -> None:
    count = Count()
    for _ in range(5):
        _, (count,) = judge([ACME], [count], 1_000_000.0)
    assert not judge([ACME], [count], 1_000_000.0)[0].admitted
    assert judge([ACME], [count], 1_000.0)[0].admitted


def test_windows_of_two_lengths_are_counted_apart() -> None:
    assert Quota("k", 5, 60).counter != Quota("k", 5, 3_600).counter
