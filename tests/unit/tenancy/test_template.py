"""A template that cannot work says so in one sentence."""

import pytest

from controlplane.errors import TemplateInvalid
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.template import load
from tests.integration.tenancy.templates import NOTES, application, revision


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(TemplateInvalid, match="does not exist"):
        load(tmp_path / "absent")


def test_a_folder_without_revisions(tmp_path):
    with pytest.raises(TemplateInvalid, match="holds no revision"):
        load(tmp_path)


def test_a_seed_that_does_not_end(tmp_path):
    with pytest.raises(TemplateInvalid, match=r"seed\.sql cannot be read"):
        application(tmp_path, seed="INSERT INTO notes (body) VALUES ('x);")


def test_two_heads(tmp_path):
    application(tmp_path)
    for name in ("own_0002", "own_0003"):
        revision(tmp_path, name, down="own_0001", upgrade="pass")
    with pytest.raises(TemplateInvalid, match="one head, but has own_0002, own_0003"):
        compiled(load(tmp_path))


@pytest.mark.parametrize(
    "content", ["def upgrade(:", "import nothing_of_this_name", "revision = 'x'", "raise KeyError"]
)
def test_a_revision_that_cannot_be_read(tmp_path, content):
    application(tmp_path)
    (tmp_path / "versions" / "own_0002.py").write_text(content)
    with pytest.raises(TemplateInvalid):
        compiled(load(tmp_path))


def test_a_revision_that_follows_nothing_known(tmp_path):
    application(tmp_path)
    revision(tmp_path, "own_0003", down="own_0002", upgrade="pass")
    with pytest.raises(TemplateInvalid, match="own_0002"):
        compiled(load(tmp_path))


def test_an_error_inside_a_revision_is_named(tmp_path):
    template = application(tmp_path, upgrade=f"{NOTES}\nraise KeyError('x')")
    with pytest.raises(TemplateInvalid, match="own_0001"):
        compiled(template)


def test_a_seed_is_optional(tmp_path):
    template = application(tmp_path)
    (tmp_path / "seed.sql").unlink()
    assert compiled(load(tmp_path)).statements == compiled(template).statements
