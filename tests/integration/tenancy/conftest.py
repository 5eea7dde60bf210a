from collections.abc import Iterator

import pytest

from controlplane.tenancy.template import Template, load
from tests.database import Server, fresh_database
from tests.integration.tenancy.places import Place


@pytest.fixture(scope="session")
def template() -> Template:
    return load()


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[Place]:
    """One for all tests of a module: each makes tenants of its own."""
    with fresh_database(server) as database:
        yield Place(
            owner_url=database.owner_url,
            app_url=database.app_url,
            superuser_url=database.superuser_url,
            installation=database.installation,
        )
