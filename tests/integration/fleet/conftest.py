import pytest

from tests.integration.fleet.ground import Fleet, open_fleet


@pytest.fixture(scope="module")
async def opened(server, tmp_path_factory):
    async with open_fleet(server, tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture
async def fleet(opened: Fleet) -> Fleet:
    """Six tenants, all at the older revision."""
    await opened.anew()
    return opened
