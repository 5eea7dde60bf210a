"""What follows from a look at a domain's DNS, as tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.domain.dns_look import (
    Ingress,
    Look,
    Pointing,
    Proof,
    Seen,
    Way,
    challenge_name,
    challenge_value,
    judge,
)
from controlplane.domain.own_domains import DomainState, Standing, follows, taken
from controlplane.domain.own_hosts import Host

HOST = Host("www.acme.example")
CHALLENGE = challenge_value("0" * 40)
INGRESS = Ingress(
    "acme.apps.test",
    "apps.test",
    frozenset({"lb.apps.test", "lb.provider.test"}),
    frozenset({"192.0.2.1", "2001:db8::1"}),
)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE, ASIDE, UNKNOWN = Pointing.HERE, Pointing.ASIDE, Pointing.UNKNOWN
PENDING, VERIFIED, LOST = DomainState


def looked(texts: Any, way: Way | None = None) -> Seen:
    return judge(Look(texts, way), host=HOST, challenge=CHALLENGE, ingress=INGRESS)


@pytest.mark.parametrize(
    ("texts", "proof"),
    [
        ({CHALLENGE}, Proof.THERE),
        (("v=spf1 -all", CHALLENGE), Proof.THERE),
        ((), Proof.MISSING),
        (("v=spf1 -all",), Proof.WRONG),
        ((CHALLENGE.upper(),), Proof.WRONG),
        ((f"{CHALLENGE} ",), Proof.WRONG),
        ((challenge_value("1" * 40),), Proof.WRONG),
        (None, Proof.UNKNOWN),
    ],
)
def test_only_the_very_value_is_a_proof(texts: Any, proof: Proof) -> None:
    assert looked(texts).proof is proof


@pytest.mark.parametrize(
    ("names", "addresses", "pointing"),
    [
        (["acme.apps.test"], ["192.0.2.1"], Pointing.HERE),
        (["acme.apps.test"], [], Pointing.HERE),
        (["cdn.example", "acme.apps.test", "lb.provider.test"], ["192.0.2.1"], Pointing.HERE),
        (["lb.provider.test"], ["203.0.113.9"], Pointing.HERE),
        # The ingress may lie below the base domain itself.
        (["lb.apps.test"], [], Pointing.HERE),
        ([], ["192.0.2.1"], Pointing.HERE),
        ([], ["203.0.113.9", "2001:db8::1"], Pointing.HERE),
        ([], [], Pointing.NOWHERE),
        (["gone.example"], [], Pointing.NOWHERE),
        ([], ["203.0.113.9"], Pointing.ASIDE),
        (["shop.cdn.example"], ["203.0.113.9"], Pointing.ASIDE),
        # Another tenant's name, or nobody's any more, whatever it leads to.
        (["globex.apps.test"], ["192.0.2.1"], Pointing.ELSEWHERE),
        (["gone.apps.test"], [], Pointing.ELSEWHERE),
        (["cdn.example", "globex.apps.test", "acme.apps.test"], [], Pointing.ELSEWHERE),
        (["apps.test"], ["192.0.2.1"], Pointing.ELSEWHERE),
        (["a.acme.apps.test"], ["192.0.2.1"], Pointing.ELSEWHERE),
    ],
)
def test_a_host_points_here_by_a_name_of_ours_or_an_address(
    names: list[str], addresses: list[str], pointing: Pointing
) -> None:
    seen = looked({CHALLENGE}, Way(tuple(names), frozenset(addresses)))
    assert seen.pointing is pointing
    problem = None if pointing is HERE else str(pointing)
    assert (seen.problem or {}).get("code") == problem
    if seen.problem:
        assert HOST in seen.problem["detail"]
        assert "'acme.apps.test'" in seen.problem["detail"]


def test_what_is_wrong_is_told_proof_first_and_shortly() -> None:
    missing = looked((), Way())
    assert missing.problem is not None
    assert missing.problem["code"] == "txt_missing"
    assert challenge_name(HOST) == "_controlplane-challenge.www.acme.example"
    assert challenge_name(HOST) in missing.problem["detail"]
    wrong = looked([f"{number:0>5}{'x' * 10_000}" for number in range(100)])
    assert wrong.problem is not None
    assert wrong.problem["code"] == "txt_wrong"
    assert len(wrong.problem["detail"]) < 500
    unknown = looked(None, Way())
    assert unknown.problem == {
        "code": "dns_unavailable",
        "detail": "No answer from the domain's name servers.",
    }


def seen(proof: Proof, pointing: Pointing = HERE) -> Seen:
    is_sound = (proof, pointing) == (Proof.THERE, HERE)
    return Seen(proof, pointing, None if is_sound else {"code": "x", "detail": "It is not right."})


def standing(
    state: DomainState,
    *,
    age: timedelta = HOUR,
    failing: timedelta | None = None,
    points_here: bool | None = None,
) -> Standing:
    return Standing(
        state,
        NOW - age,
        None if state is PENDING else NOW - age,
        None if failing is None else NOW - failing,
        points_here,
    )


@pytest.mark.parametrize(
    ("age", "after"),
    [
        (timedelta(0), timedelta(seconds=15)),
        (timedelta(seconds=15), timedelta(seconds=15)),
        (timedelta(seconds=30), timedelta(seconds=30)),
        (timedelta(minutes=50), timedelta(minutes=50)),
        (timedelta(days=1), HOUR),
        (timedelta(days=7) - timedelta(seconds=1), HOUR),
        (timedelta(days=7), None),
        (timedelta(days=300), None),
    ],
)
@pytest.mark.parametrize("proof", [Proof.MISSING, Proof.WRONG, Proof.UNKNOWN])
def test_a_pending_one_is_looked_at_ever_more_seldom_and_after_a_week_no_more(
    proof: Proof, age: timedelta, after: timedelta | None
) -> None:
    verdict = follows(standing(PENDING, age=age), seen(proof, ASIDE), now=NOW)
    assert (verdict.state, verdict.verified_at, verdict.failing_since) == (PENDING, None, None)
    assert verdict.check_after == after
    assert verdict.problem is not None
    assert ("look no more" in verdict.problem["detail"]) is (after is None)


@pytest.mark.parametrize("state", [PENDING, LOST])
@pytest.mark.parametrize(
    ("pointing", "after"),
    [
        (Pointing.HERE, timedelta(hours=6)),
        # What is not there yet is no obstacle; somebody looks again soon.
        (Pointing.NOWHERE, timedelta(seconds=15)),
        (Pointing.ASIDE, timedelta(seconds=15)),
        (Pointing.UNKNOWN, timedelta(seconds=15)),
    ],
)
def test_a_proof_verifies_wherever_the_name_leads_but_to_another_name_of_ours(
    state: DomainState, pointing: Pointing, after: timedelta
) -> None:
    before = standing(state, age=timedelta(days=30), failing=timedelta(days=9))
    verdict = follows(before, seen(Proof.THERE, pointing), now=NOW)
    assert (verdict.state, verdict.verified_at, verdict.failing_since) == (VERIFIED, NOW, None)
    assert verdict.check_after == after
    astray = follows(before, seen(Proof.THERE, Pointing.ELSEWHERE), now=NOW)
    assert (astray.state, astray.verified_at, astray.points_here) == (
        state,
        before.verified_at,
        False,
    )


@pytest.mark.parametrize(
    ("failing", "proof", "state", "since", "after"),
    [
        (None, Proof.THERE, VERIFIED, None, 6 * HOUR),
        (None, Proof.MISSING, VERIFIED, timedelta(0), HOUR),
        (None, Proof.WRONG, VERIFIED, timedelta(0), HOUR),
        (None, Proof.UNKNOWN, VERIFIED, None, timedelta(minutes=10)),
        (HOUR, Proof.MISSING, VERIFIED, HOUR, HOUR),
        (HOUR, Proof.THERE, VERIFIED, None, 6 * HOUR),
        (71 * HOUR, Proof.WRONG, VERIFIED, 71 * HOUR, HOUR),
        (72 * HOUR, Proof.MISSING, LOST, 72 * HOUR, 24 * HOUR),
        # Time alone takes nothing away: somebody must have missed it.
        (90 * HOUR, Proof.UNKNOWN, VERIFIED, 90 * HOUR, timedelta(minutes=10)),
        (90 * HOUR, Proof.THERE, VERIFIED, None, 6 * HOUR),
    ],
)
def test_a_verified_one_is_lost_only_when_its_proof_was_surely_gone_for_72_hours(
    failing: timedelta | None,
    proof: Proof,
    state: DomainState,
    since: timedelta | None,
    after: timedelta,
) -> None:
    before = standing(VERIFIED, age=timedelta(days=30), failing=failing)
    verdict = follows(before, seen(proof), now=NOW)
    assert (verdict.state, verdict.check_after) == (state, after)
    assert verdict.failing_since == (None if since is None else NOW - since)
    assert verdict.verified_at == before.verified_at


@pytest.mark.parametrize("proof", [Proof.MISSING, Proof.UNKNOWN])
def test_a_lost_one_stays_so_and_is_looked_at_once_a_day(proof: Proof) -> None:
    before = standing(LOST, age=timedelta(days=300), failing=timedelta(days=9))
    verdict = follows(before, seen(proof), now=NOW)
    assert (verdict.state, verdict.check_after) == (LOST, 24 * HOUR)
    assert verdict.failing_since == before.failing_since


def test_where_a_name_leads_is_remembered_while_nobody_can_tell() -> None:
    for known in (True, False, None):
        before = standing(VERIFIED, points_here=known)
        assert follows(before, seen(Proof.THERE, UNKNOWN), now=NOW).points_here is known
        assert follows(before, seen(Proof.THERE, ASIDE), now=NOW).points_here is False
        assert follows(before, seen(Proof.UNKNOWN, HERE), now=NOW).points_here is True


@pytest.mark.parametrize(
    ("state", "age", "after"),
    [(PENDING, HOUR, HOUR), (PENDING, timedelta(days=8), None), (LOST, HOUR, 24 * HOUR)],
)
def test_who_comes_second_stays_as_he_is_and_is_told(
    state: DomainState, age: timedelta, after: timedelta | None
) -> None:
    before = standing(state, age=age, failing=None if state is PENDING else HOUR)
    verdict = taken(before, follows(before, seen(Proof.THERE), now=NOW), now=NOW)
    assert (verdict.state, verdict.verified_at, verdict.failing_since) == (
        before.state,
        before.verified_at,
        before.failing_since,
    )
    assert (verdict.points_here, verdict.check_after) == (True, after)
    assert verdict.problem is not None
    assert verdict.problem["code"] == "domain_taken"
