"""Which revision comes after which, as an app server knows it."""

import pytest

from controlplane.domain.lineage import Lineage
from controlplane.tenancy import compile as compiling
from controlplane.tenancy.newest import newest
from controlplane.tenancy.template import load

TEXT = "revision: str = {!r}\ndown_revision: str | None = {!r}\ndepends_on = {!r}\n"
TEXTS = [
    TEXT.format("core_0001", None, None),
    TEXT.format("core_0002", "core_0001", None),
    TEXT.format("app_0001", None, None),
    TEXT.format("app_0002", "app_0001", ("core_0002",)),
    TEXT.format("app_0003", ("app_0002",), None),
]
LINEAGE = Lineage.of(TEXTS)


def test_the_newest_are_those_that_nothing_follows_or_depends_on():
    assert LINEAGE.newest() == "app_0003"
    assert Lineage.of(TEXTS[:3]).newest() == "app_0001,core_0002"
    with pytest.raises(ValueError, match="core_0001"):
        Lineage.of(TEXTS[1:2]).newest()


@pytest.mark.parametrize(
    ("at", "revision", "expected"),
    [
        ("app_0002", "app_0002", True),
        ("app_0003", "app_0002", True),
        ("app_0002", "core_0001", True),
        ("app_0001,core_0002", "app_0002", False),
        ("app_0001,core_0002", "core_0002", True),
        # Newer than this app server.
        ("app_0004", "app_0003", True),
        # What depends on the other chain's is not there while that one is a head.
        ("app_0004,core_0002", "app_0003", False),
        # The other chain's is newer; this one's is known.
        ("app_0002,core_0009", "app_0003", False),
        ("app_0002,core_0009", "app_0001", True),
        ("", "app_0001", False),
        (None, "app_0001", False),
    ],
)
def test_a_tenant_is_at_or_past_a_revision(at, revision, expected):
    assert LINEAGE.reached(revision, at) is expected


def test_a_revision_that_there_is_not_is_a_mistake_of_whoever_asks():
    with pytest.raises(ValueError, match="app_0030"):
        LINEAGE.reached("app_0030", "app_0003")


@pytest.mark.parametrize(
    "text", ["revision = name()", "down_revision = 'a'", "revision = 'a'\ndown_revision = last"]
)
def test_a_revision_that_does_not_say_so_in_so_many_words_cannot_be_read(text):
    with pytest.raises(ValueError):  # noqa: PT011  each says it in its own words
        Lineage.of([text])


def test_the_template_s_newest_revision_is_what_alembic_says():
    template = load()
    assert newest(template) == compiling.compiled(template).revision
