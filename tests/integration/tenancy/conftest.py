import pytest

from controlplane.tenancy.template import Template, load
from tests.database import Database
from tests.integration.tenancy.places import Place


@pytest.fixture(scope="session")
def template() -> Template:
    return load()


@pytest.fixture
def place(database: Database) -> Place:
    return Place(
        owner_url=database.owner_url,
        app_url=database.app_url,
        superuser_url=database.superuser_url,
        installation=database.installation,
    )
