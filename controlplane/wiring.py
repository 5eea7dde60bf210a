"""Chooses the classes and ties them together, for the API and the worker: `open_parts`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane import __version__
from controlplane.connections import (
    installation_of,
    open_app_pool,
    open_control,
    open_owner,
)
from controlplane.domain import warm_pool
from controlplane.identity.keys import open_sealing, open_verifier
from controlplane.identity.sealing import Sealing
from controlplane.ports import DnsProvider, MailSender, PrincipalVerifier, RateLimits
from controlplane.replicas import open_counts, open_directory, open_zone
from controlplane.routing import Tenancy, TenantDirectory
from controlplane.senders import open_mail_events, open_sender
from controlplane.settings import Settings
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy import template
from controlplane.tenancy.template import Template
from controlplane_emails.sns_topic import SnsTopic


@dataclass(frozen=True)
class Parts:
    """What the API and the worker are made of; open until `open_parts` ends.

    `control` is the API's database access, `owner` the worker's, `app_pool` the app servers'.
    `directory` is the process's one: whoever serves asks it.
    """

    settings: Settings
    installation: UUID
    control: AsyncEngine
    owner: AsyncEngine
    app_pool: AsyncConnectionPool[Any]
    tenancy: Tenancy
    directory: TenantDirectory
    template: Template
    dns: DnsProvider
    sender: MailSender
    verifier: PrincipalVerifier
    counts: RateLimits
    sealing: Sealing | None
    mail_events: SnsTopic | None = None


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Raises DatabaseUnavailable, UnsafeDatabaseRole and other StartupErrors with one clear line."""
    async with AsyncExitStack() as stack:
        control = open_control(settings)
        stack.push_async_callback(control.dispose)
        owner = open_owner(settings)
        stack.push_async_callback(owner.dispose)
        installation = await installation_of(owner)
        pool = await stack.enter_async_context(open_app_pool(settings))
        counts = await stack.enter_async_context(open_counts(settings))
        yield Parts(
            settings=settings,
            installation=installation,
            control=control,
            owner=owner,
            app_pool=pool,
            tenancy=Tenancy(pool),
            directory=await stack.enter_async_context(open_directory(settings, pool, installation)),
            template=template.load(settings.tenant_template),
            dns=await stack.enter_async_context(open_zone(settings)),
            sender=open_sender(settings),
            verifier=open_verifier(settings),
            counts=counts,
            sealing=open_sealing(settings),
            mail_events=open_mail_events(settings),
        )


def app_login(settings: Settings) -> str:
    """The name of the app servers' login."""
    return sqlalchemy_url(settings.app_database_url.get_secret_value()).username or ""


def warm_recipe(settings: Settings, made_from: Template) -> str:
    """What this process makes schemas by, and hands out schemas of."""
    login, digest = app_login(settings), made_from.digest
    return warm_pool.recipe(release=__version__, digest=digest, app_login=login)
