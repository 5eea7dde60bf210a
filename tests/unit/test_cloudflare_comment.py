"""How a record at Cloudflare says whose it is, and what several faults at once mean."""

from uuid import UUID

import pytest

from controlplane.domain.naming import Mark
from controlplane.errors import ProviderRefused
from controlplane_dns import cloudflare_answers as answers
from controlplane_dns.cloudflare_zone import comment, comment_start, parse_comment

ACME = Mark(UUID(int=0xA), UUID(int=1), UUID(int=101))
HIGHEST = Mark(*[UUID(int=2**128 - 1)] * 3)


@pytest.mark.parametrize("mark", [ACME, HIGHEST])
def test_a_comment_leads_back_to_its_mark(mark: Mark) -> None:
    assert parse_comment(comment(mark)) == mark
    assert len(comment(mark)) == 81
    assert comment(mark).startswith(comment_start(mark.installation))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the company's web site",
        str(ACME),
        comment(ACME)[:-1],
        f"{comment(ACME)} ",
        f"{comment(ACME)}\n",
        comment(ACME).upper(),
        # The same bytes in another spelling.
        f"{comment(ACME)[:-1]}R",
    ],
)
def test_what_only_looks_like_a_mark_is_none(text: str) -> None:
    assert parse_comment(text) is None


def test_what_is_forgiven_alone_is_not_forgiven_beside_something_else() -> None:
    told = b'{"success": false, "result": null, "errors": [{"code": 81044}, {"code": 9313}]}'
    answer = answers.read(400, None, told)
    assert isinstance(answers.fault(answer, besides=answers.GONE), ProviderRefused)
    assert answers.fault(answer, besides=answers.GONE | {9313}) is None
