"""Who is in which ring of a rollout."""

from uuid import UUID

import pytest

from controlplane.domain.naming import Subdomain
from controlplane.domain.rings import (
    MOST_RINGS,
    By,
    Member,
    Ring,
    assign,
    empty,
    parse_rings,
    tags_of,
)
from controlplane.domain.tenants import Tier
from controlplane.errors import ValidationFailed


def member(number, *, tier=Tier.STARTER, tags=()):
    return Member(UUID(int=number), Subdomain(f"tenant-{number}"), tier, frozenset(tags))


def sizes(texts, members):
    found = list(assign(parse_rings(texts), members).values())
    return [found.count(number) for number in range(len(texts) + 1)]


@pytest.mark.parametrize(
    ("texts", "tenants", "expected"),
    [
        ([], 5, [5]),
        (["canary=1%"], 0, [0, 0]),
        (["canary=1%"], 1, [1, 0]),
        (["canary=1%"], 100, [1, 99]),
        (["canary=1%", "early=10%"], 1000, [10, 100, 890]),
        (["canary=0.1%", "early=50%"], 1000, [1, 500, 499]),
        (["canary=1%", "early=10%"], 3, [1, 1, 1]),
        (["half=50%", "all=100%"], 7, [4, 3, 0]),
        (["canary=list:tenant-1,TENANT-3,nobody"], 5, [2, 3]),
    ],
)
def test_rings_have_these_sizes(texts, tenants, expected):
    assert sizes(texts, [member(number) for number in range(tenants)]) == expected


def test_the_first_ring_that_wants_a_tenant_has_it():
    members = [
        member(1, tier=Tier.ENTERPRISE, tags=["beta"]),
        member(2, tags=["beta", "other"]),
        member(3, tier=Tier.ENTERPRISE),
        member(4),
    ]
    rings = parse_rings(["one=list:tenant-3", "two=tag:beta", "three=tier:enterprise,professional"])
    found = assign(rings, members)
    assert [found[UUID(int=number)] for number in (1, 2, 3, 4)] == [1, 1, 0, 3]


def test_the_same_tenants_come_to_the_same_rings_whatever_their_order():
    members = [member(number) for number in range(200)]
    rings = parse_rings(["canary=5%", "early=30%"])
    expected = assign(rings, members)
    assert assign(rings, reversed(members)) == expected
    assert sorted(key.int for key, ring in expected.items() if ring == 0) != list(range(10))


@pytest.mark.parametrize(
    "texts",
    [
        ["1%"],
        ["canary"],
        ["canary=0%"],
        ["canary=101%"],
        ["canary=-1%"],
        ["canary=1"],
        ["canary=tier:gold"],
        ["canary=tag:"],
        ["canary=list: , "],
        ["canary=rest"],
        ["rest=1%"],
        ["Canary=1%"],
        ["canary=1%", "canary=2%"],
        [f"ring-{number}=1%" for number in range(MOST_RINGS + 1)],
    ],
)
def test_a_ring_that_makes_no_sense_is_refused(texts):
    with pytest.raises(ValidationFailed) as refused:
        parse_rings(texts)
    assert [fault.pointer for fault in refused.value.faults] == ["/rings"]


def test_a_ring_is_pinned_and_read_back():
    rings = parse_rings(["a=2.5%", "b=tier:starter", "c=tag:x,y", "d=list:acme"])
    assert tuple(Ring.from_json(ring.to_json()) for ring in rings) == rings
    assert [ring.by for ring in rings] == [By.PERCENT, By.TIER, By.TAG, By.LIST, By.REST]


def test_a_ring_that_wants_somebody_and_gets_nobody_is_told():
    rings = parse_rings(["a=list:amce", "b=tag:beta", "c=tier:starter", "d=1%", "e=list:acme"])
    assert empty(rings, [0, 0, 0, 0, 1, 0]) == ["a", "b", "c"]
    assert empty(rings, [0] * 6) == []


@pytest.mark.parametrize(
    ("metadata", "tags"),
    [({}, set()), ({"tags": ["a", 1, "b"]}, {"a", "b"}), ({"tags": "a"}, set())],
)
def test_tags_are_the_texts_in_a_tenants_metadata(metadata, tags):
    assert tags_of(metadata) == tags
