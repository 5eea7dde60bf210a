"""What is shown of a rollout under way."""

import io

import pytest
from rich.console import Console

from controlplane.cli.rollout import targets
from controlplane.cli.rollout_bars import bars, headline, picture, span


def ring(name, **counts):
    return {
        "name": name,
        **dict.fromkeys(("pending", "waiting", "done", "failed", "skipped"), 0),
    } | counts


def rollout(**more):
    return {
        "state": "running",
        "revision": "core_0003,own_0002",
        "ring": "rest",
        "rings": [ring("canary", done=3), ring("rest", pending=90, done=8, failed=2, waiting=1)],
        "soaks_for_s": 0.0,
        "per_s": 412.4,
        "eta_s": 90.0,
        "error": None,
        "other_release": False,
        **more,
    }


def drawn(told):
    out = io.StringIO()
    Console(file=out, width=100).print(picture(told))
    return out.getvalue()


def test_a_terminal_shows_a_bar_for_each_ring_with_rate_and_time_left():
    lines = drawn(rollout()).splitlines()
    assert lines[0] == "running  to core_0003,own_0002  412/s  about 2 min left"
    assert lines[1].split()[0] == "canary"
    assert "3/3" in lines[1]
    assert lines[2].split()[-5:] == ["10/100", "2", "failed", "1", "waiting"]


def test_what_halted_it_is_told():
    error = {"code": "budget_exhausted", "detail": "2 failed in the ring 'rest', where 1 may."}
    assert error["detail"] in drawn(rollout(state="halted", error=error))


def test_of_another_releases_rollout_it_is_told_who_alone_carries_it_out(capsys):
    for shown in (drawn(rollout()), drawn(rollout(state="succeeded", other_release=True))):
        assert "another release" not in shown
    assert "another release" in " ".join(drawn(rollout(other_release=True)).split())
    with bars() as show:
        show(rollout(other_release=True))
        show(rollout(other_release=True, per_s=1.0))
    assert capsys.readouterr().err.count("another release") == 1


def test_a_soak_says_how_long_it_lasts():
    told = rollout(soaks_for_s=600.0, per_s=0.0, eta_s=None)
    assert headline(told) == "running  to core_0003,own_0002  ring 'rest' begins in 10 min"


@pytest.mark.parametrize(("per_s", "told"), [(0.24, "0.2/s"), (1.6, "2/s"), (412.4, "412/s")])
def test_a_slow_rate_is_told_in_tenths(per_s, told):
    assert headline(rollout(per_s=per_s)).split("  ")[2] == told


@pytest.mark.parametrize("state", ["halted", "paused", "cancelled"])
def test_what_rests_has_neither_rate_nor_time_left(state):
    assert headline(rollout(state=state)) == f"{state}  to core_0003,own_0002"


def test_elsewhere_there_is_a_line_for_each_tenth_of_a_ring(capsys):
    with bars() as show:
        for done in range(101):
            show(rollout(rings=[ring("rest", pending=100 - done, done=done)], per_s=0, eta_s=None))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[1].split() == ["rest", "1/100"]
    assert lines[-1].split() == ["rest", "100/100"]


def test_a_plan_says_how_many_are_frozen():
    plan = {"targets": 30, "at_revision": 2, "older": 0}
    paths = [{"targets": 20}, {"targets": 9}]
    told = targets({**plan, "paths": paths})
    assert told == "30, 1 of them frozen, to be skipped, and 2 that are there already"
    told = targets({**plan, "paths": [*paths, {"targets": 1}]})
    assert told == "30, and 2 that are there already"


def test_a_plan_of_a_way_back_says_who_stays_at_an_older_revision():
    told = targets({"targets": 3, "at_revision": 2, "older": 1, "paths": [{"targets": 3}]})
    assert told == "3, and 2 that are there already; 1 at an older one stay there"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (42, "42 s"), (420, "7 min"), (12_600, "3.5 h")]
)
def test_a_span_is_told_in_its_largest_unit(seconds, told):
    assert span(seconds) == told
