"""Tenants' own domains in a test's database, as the control plane would have entered them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

_ADD = """
INSERT INTO public.tenant_domains
  (tenant_id, host, state, verified_at, challenge, is_primary, redirects)
VALUES (%s, %s, %s, CASE WHEN %s <> 'pending' THEN now() END, 'x', %s, %s)
"""


def add_domain(
    superuser_url: str,
    tenant_id: UUID | str,
    host: str,
    state: str = "verified",
    *,
    primary: bool = False,
    redirects: bool = False,
) -> None:
    """The host of this tenant's, in this state."""
    run(superuser_url, _ADD, [tenant_id, host, state, state, primary, redirects])


def set_domain(superuser_url: str, host: str, state: str) -> None:
    """Verified, or lost."""
    change = "UPDATE public.tenant_domains SET state = %s, verified_at = now() WHERE host = %s"
    run(superuser_url, change, [state, host])


def run(superuser_url: str, statement: str, params: Sequence[Any] = ()) -> None:
    """And commit."""
    with psycopg.connect(superuser_url) as conn:
        conn.execute(statement.encode(), params or None)
