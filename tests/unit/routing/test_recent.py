"""An answer that another process wrote down is believed where nothing speaks against it."""

from uuid import uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant
from controlplane.routing.known import Ages, Changes, KnownTenants
from controlplane.routing.recent import RecentChanges, in_contact
from controlplane.routing.shared import SharedAnswer

SERVER = "1700000000.25/5"


def _answer(horizon, *, subdomain="acme", server=SERVER, at=1000.0):
    tenant = RoutedTenant(uuid4(), subdomain, "A", TenantState.ACTIVE, "starter", "abc")
    return SharedAnswer(subdomain, tenant, horizon, server, at)


def _told(horizon, changed=None, *, server=SERVER, at=1000.0):
    return Changes(changed or {}, horizon, server, at)


@pytest.fixture
def recent():
    """Told of all from 100 on; the registry is at 200."""
    recent = RecentChanges(limit=3)
    recent.note(_told(200), since=None, asked_at=0)
    recent.note(_told(200), since=100, asked_at=1)
    return recent


def _stands(recent, answer):
    return recent.can_judge(answer) and recent.vouches(answer)


def test_after_the_first_contact_nothing_can_be_judged():
    recent = RecentChanges()
    assert not recent.can_judge(_answer(5))
    assert not recent.vouches(_answer(5))
    recent.note(_told(200), since=None, asked_at=0)
    assert not recent.can_judge(_answer(200))


def test_what_changed_since_the_answer_speaks_against_it(recent):
    assert _stands(recent, _answer(150))
    recent.note(_told(210, {"acme": 205}), since=200, asked_at=2)
    assert not _stands(recent, _answer(150))
    assert _stands(recent, _answer(150, subdomain="globex"))


@pytest.mark.parametrize(("horizon", "stands"), [(204, False), (205, False), (206, True)])
def test_only_an_answer_whose_writer_had_seen_the_change_end_holds_it(recent, horizon, stands):
    recent.note(_told(210, {"acme": 205}), since=200, asked_at=2)
    assert _stands(recent, _answer(horizon)) is stands


def test_an_answer_from_before_what_is_known_can_be_judged_after_a_question(recent):
    assert not recent.can_judge(_answer(99))
    recent.note(_told(200, {"globex": 95}), since=90, asked_at=2)
    assert _stands(recent, _answer(99))
    assert _stands(recent, _answer(99, subdomain="globex"))
    assert not _stands(recent, _answer(95, subdomain="globex"))


def test_a_change_is_news_once(recent):
    assert recent.note(_told(200, {"acme": 205}), since=200, asked_at=2) == {"acme"}
    assert recent.note(_told(200, {"acme": 205, "b": 206}), since=200, asked_at=3) == {"b"}
    assert recent.note(_told(220, {"acme": 211}), since=200, asked_at=4) == {"acme"}


def test_after_a_silence_all_that_was_known_is_void(recent):
    recent.note(_told(900, {"acme": 205}), since=None, asked_at=2)
    assert not recent.can_judge(_answer(899))


@pytest.mark.parametrize("doubted", [["acme"], None])
def test_who_is_said_to_have_changed_is_doubted_until_the_registry_was_asked(recent, doubted):
    recent.doubt(doubted, 5)
    assert not _stands(recent, _answer(150))
    assert _stands(recent, _answer(150, subdomain="globex")) is (doubted is not None)
    # Asked before it was said, or in the same moment: the answer may not hold the change.
    for asked_at in (4, 5):
        recent.note(_told(200), since=200, asked_at=asked_at)
        assert not _stands(recent, _answer(150))
    recent.note(_told(200), since=200, asked_at=6)
    assert _stands(recent, _answer(150))


def test_who_says_too_much_makes_everybody_doubted_and_takes_no_room(recent):
    for number in range(1000):
        recent.doubt([f"x{number}"], 5)
        assert len(recent._doubted) <= 4  # noqa: SLF001  the room it takes
    assert not _stands(recent, _answer(150, subdomain="globex"))
    recent.note(_told(200), since=200, asked_at=6)
    assert _stands(recent, _answer(150, subdomain="globex"))


def test_what_is_no_longer_needed_is_not_remembered_and_not_judged(recent):
    recent.note(_told(210, {f"x{n}": 200 + n for n in range(4)}), since=200, asked_at=2)
    assert not recent.can_judge(_answer(209))
    assert _stands(recent, _answer(210, subdomain="x3"))
    # While a long transaction holds the horizon back all of it is needed.
    recent.note(_told(210, {f"y{n}": 211 + n for n in range(9)}), since=210, asked_at=3)
    assert not _stands(recent, _answer(210, subdomain="y8"))


@pytest.mark.parametrize(
    ("answer", "comparable"),
    [
        (_answer(200), True),
        (_answer(200, at=970.0), True),
        (_answer(200, at=969.0), False),
        (_answer(200, at=1001.0), False),
        (_answer(200, at=float("nan")), False),
        (_answer(201), False),
    ],
)
def test_an_answer_of_our_future_or_too_old_is_none(recent, answer, comparable):
    assert recent.comparable(answer, ttl_s=30) is comparable


def test_another_servers_answer_does_not_stand(recent):
    """One that took its place counts on from where it was."""
    assert not _stands(recent, _answer(150, server="1800000000.5/5"))
    recent.note(_told(210, server="1800000000.5/5"), since=None, asked_at=2)
    recent.note(_told(210, server="1800000000.5/5"), since=100, asked_at=3)
    assert not _stands(recent, _answer(150))
    assert _stands(recent, _answer(150, server="1800000000.5/5"))


def test_an_answer_to_a_question_from_too_late_tells_of_too_little(recent):
    """An answer of another server's was read, and this one took its place before the question."""
    known = KnownTenants(Ages(), size=9)
    known.in_contact(_told(50), 1)
    changes = _told(60, {"globex": 170})
    contact = in_contact(known, recent, changes, since=150, asked_at=2)
    assert contact.forget is None
    assert not recent.can_judge(_answer(200))
    assert known.horizon == 60
