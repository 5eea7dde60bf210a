"""What the OpenAPI document promises, tried by a generator against a real server.

With SCHEMATHESIS_URL and SCHEMATHESIS_TOKEN the server at that address is tried instead, with
SCHEMATHESIS_EXAMPLES (100) examples for each operation; with SCHEMATHESIS_TENANT_HOST, a host of an
active tenant there, and SCHEMATHESIS_TENANT_TOKEN, of an admin of it, what is served on tenants'
hosts as well. Then every boundary of every operation is tried, and not of some alone.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli import serving
from tests.database import Server, fresh_database
from tests.web.calls import open_site
from tests.web.members import ADMIN, Members, host_of, make_tenant

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

_BY_HAND = "SCHEMATHESIS_URL" in os.environ  # noqa: TID251  the operator of the test run says what is tried
_ON_TENANTS_HOSTS = "^/api/tenant/"
# What a schema cannot say: a key that was used for another request, a reserved subdomain, the
# subdomain that confirms, what a host may look like.
_SETTINGS = """
[[operations]]
include-operation-id = [
  "createTenant", "provisionTenant", "suspendTenant", "resumeTenant", "restoreTenant", "purgeTenant",
  "resendWelcome", "renameTenant", "addDomain", "changeDomain", "checkDomain", "removeDomain",
  "planRollout", "startRollout",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422"]

[[operations]]
include-operation-id = ["changeTenantSettings"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "412", "422", "428"]

[[operations]]
include-operation-id = ["resolveHost", "tlsAllowed"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404"]
"""

# Every boundary of every parameter: most of the time, and for most much the same.
_SPARING = """
[[operations]]
include-operation-id-regex = "^(?!(listTenants|createTenant|getTenant|listOperations|changeDomain|changeTenantSettings|resolveHost)$)"
phases.coverage.enabled = false
"""


@dataclass(frozen=True)
class Target:
    """A running server; `examples` are tried for each operation."""

    url: str
    token: str = field(repr=False)
    examples: int
    tenant_host: str | None
    tenant_token: str = field(repr=False)


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Target]:
    given: Any = os.environ  # noqa: TID251  as above
    if _BY_HAND:
        examples = int(given.get("SCHEMATHESIS_EXAMPLES", "100"))
        host = given.get("SCHEMATHESIS_TENANT_HOST")
        theirs = given.get("SCHEMATHESIS_TENANT_TOKEN", "")
        token = given["SCHEMATHESIS_TOKEN"]
        yield Target(given["SCHEMATHESIS_URL"], token, examples, host, theirs)
        return
    with fresh_database(server) as database:
        async with open_site(database) as site, site.working():
            async with site.client() as client:
                tenant = await make_tenant(client)
            theirs = Members(site, tenant, tenant).token(tenant, ADMIN)
            bound = serving.listening("127.0.0.1", 0)
            stopping = asyncio.Event()
            serve = asyncio.create_task(serving.serve(site.app, bound, stopping))
            try:
                url = f"http://127.0.0.1:{bound.getsockname()[1]}"
                yield Target(url, site.tokens["super_admin"], 3, host_of(tenant), theirs)
            finally:
                stopping.set()
                await serve


async def generate(target: Target, folder: Path, token: str, *options: str) -> None:
    """Run the generator; its whole output is the failure."""
    sparing = "" if _BY_HAND else _SPARING
    (folder / "schemathesis.toml").write_text(_SETTINGS + sparing)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{target.url}/api/openapi.json"),
        *("-H", f"Authorization: Bearer {token}", "--max-examples", str(target.examples)),
        *("--continue-on-failure", "--request-timeout", "60", "--no-color"),
        *("--suppress-health-check", "too_slow"),  # as it is on a busy machine
        *("--generation-database", "none", *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode().replace(token, "…")


async def test_a_generator_finds_nothing_undocumented(server: Server, tmp_path: Path) -> None:
    async with opened(server) as target:
        # First: the other run deletes every tenant that it finds.
        if target.tenant_host is not None:
            there = ("--include-path-regex", _ON_TENANTS_HOSTS, "-H", f"Host: {target.tenant_host}")
            await generate(target, tmp_path, target.tenant_token, *there)
        rest = _ON_TENANTS_HOSTS
        if not _BY_HAND:
            # Like others that are tried, in path and answers: a tenth of the time.
            rest += r"|/domains/\{host\}"
        await generate(target, tmp_path, target.token, "--exclude-path-regex", rest)
