"""Where a schema is that goes back, and who lies past it."""

import pytest

from controlplane.errors import TemplateInvalid
from controlplane.tenancy.chains import heads_at, past
from controlplane.tenancy.compile import compiled
from tests.integration.tenancy.templates import application, revision

DEPENDS = 'depends_on = ("core_0003",)'


@pytest.fixture
def template(tmp_path):
    application(tmp_path)
    revision(tmp_path, "own_0002", down="own_0001", upgrade="pass", downgrade="op.f('x')")
    return application(tmp_path)


@pytest.mark.parametrize(
    ("to", "heads"),
    [
        ("own_0001", {"core_0003", "own_0001"}),
        ("core_0002", {"core_0002", "own_0002"}),
        (" own_0001 , core_0001,", {"core_0001", "own_0001"}),
        ("own_0002", {"core_0003", "own_0002"}),
    ],
)
def test_a_chain_that_is_not_named_stays(template, to, heads):
    assert heads_at(template, compiled(template).heads, to) == heads


def test_a_chain_is_not_ended_by_forgetting_it(tmp_path):
    application(tmp_path)
    revision(tmp_path, "own_0002", down="own_0001", upgrade="pass", more=DEPENDS)
    template = application(tmp_path)
    newest = compiled(template).heads
    assert newest == ("own_0002",)
    with pytest.raises(TemplateInvalid, match="begins with core_0001"):
        heads_at(template, newest, "own_0001")
    assert heads_at(template, newest, "own_0001,core_0003") == {"own_0001", "core_0003"}


def test_the_application_goes_back_before_the_core(template):
    newest = frozenset(compiled(template).heads)
    to = frozenset({"core_0002", "own_0001"})
    origins = list(dict.fromkeys(compiled(template, start=newest, to=to).origins))
    assert origins == ["own_0002", "core_0003"]
    forth = compiled(template, start=to, to=newest)
    assert list(dict.fromkeys(forth.origins)) == ["core_0003", "own_0002"]
    assert forth.statements == compiled(template, start=to).statements


def test_no_script_leads_back_and_forth_at_once(template):
    start, to = frozenset({"core_0002", "own_0002"}), frozenset({"core_0003", "own_0001"})
    with pytest.raises(TemplateInvalid, match="neither before"):
        compiled(template, start=start, to=to)


def test_whoever_is_after_a_revision_or_at_an_unknown_one_lies_past_it(template):
    candidates = {
        "core_0003,own_0001": False,
        "core_0003,own_0002": True,
        "core_0002,own_0001": False,
        "core_0002,own_0002": False,
        "core_0003,own_0009": True,
    }
    found = past(template, "core_0003,own_0001", candidates)
    assert found == {at for at, is_past in candidates.items() if is_past}
