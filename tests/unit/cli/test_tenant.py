"""What `tenant show` says in words of its own."""

import pytest

from controlplane.cli.tenant import revision


@pytest.mark.parametrize(
    ("at", "newest", "told"),
    [
        (
            "core_0003,app_0001",
            "core_0003,app_0002",
            "core_0003,app_0001, behind core_0003,app_0002",
        ),
        ("core_0003,app_0002", "core_0003,app_0002", "core_0003,app_0002"),
        ("core_0003,app_0001", None, "core_0003,app_0001"),
        (None, "core_0003,app_0002", None),
    ],
)
def test_a_tenant_at_an_older_revision_is_behind_the_newest(at, newest, told):
    assert revision({"revision": at, "newest_revision": newest}) == told
