"""Two tenants of the sample template, hardened as installed, each with a role named by its marker."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from controlplane import assets
from controlplane.testing import Installation, Neighbours, marker
from controlplane.testing.ground import neighbours
from tests.database import Database


@pytest.fixture
def place(database: Database) -> Installation:
    login = str(conninfo_to_dict(database.app_url)["user"])
    return Installation(database.superuser_url, database.owner_url, database.app_url, login)


@pytest.fixture
def two(place: Installation) -> Iterator[Neighbours]:
    with neighbours(place, assets.folder("tenant_template")) as made:
        for tenant in made.tenants:
            made.execute("INSERT INTO roles (name) VALUES (%s)", [marker(tenant)], tenant=tenant)
        yield made
