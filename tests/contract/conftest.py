"""Servers that the tests of this folder share, started when the first of them asks."""

from collections.abc import Iterator

import pytest

from tests.contract.route53_peer import running_moto
from tests.name_servers import NameServer, running_bind, running_knot
from tests.ses import SesServer, running_ses
from tests.smtp import MailServer, running_smtp


@pytest.fixture(scope="session")
def bind() -> Iterator[NameServer]:
    with running_bind() as server:
        yield server


@pytest.fixture(scope="session")
def knot() -> Iterator[NameServer]:
    with running_knot() as server:
        yield server


@pytest.fixture(scope="session")
def ses() -> Iterator[SesServer]:
    with running_ses() as server:
        yield server


@pytest.fixture(scope="session")
def smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with running_smtp(tmp_path_factory.mktemp("smtp")) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with running_moto() as url:
        yield url
