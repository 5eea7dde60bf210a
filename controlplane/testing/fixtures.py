"""The fixtures of the plugin. Those of the session are there to be overridden."""

from collections.abc import Iterator

import pytest

from controlplane import embedded
from controlplane.testing.ground import Installation, Neighbours, Template, installation, neighbours


@pytest.fixture(scope="session")
def controlplane_superuser_url() -> Iterator[str]:
    """The URL of a PostgreSQL's superuser: an embedded one's, unless overridden."""
    with embedded.throwaway() as running:
        yield running.superuser_url


@pytest.fixture(scope="session")
def controlplane_installation(controlplane_superuser_url: str) -> Iterator[Installation]:
    """A database of the run's own on that server."""
    with installation(controlplane_superuser_url) as made:
        yield made


@pytest.fixture(scope="session")
def tenant_template() -> Template:
    """What tenants' schemas are made of; override it."""
    pytest.fail(
        "Override the fixture `tenant_template`: a tenant template's folder, or SQL text that makes"
        " a tenant's tables.",
        pytrace=False,
    )


@pytest.fixture(name="neighbours")
def neighbours_fixture(
    controlplane_installation: Installation, tenant_template: Template
) -> Iterator[Neighbours]:
    """Two active tenants with the same keys, for this test alone."""
    with neighbours(controlplane_installation, tenant_template) as made:
        yield made
