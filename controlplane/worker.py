"""The worker: every step that a plan may name, and the loops that `run_worker` runs."""

import asyncio
from datetime import timedelta

from controlplane.connections import (
    open_upgrades,
)
from controlplane.domain import letters
from controlplane.domain.mail import Message
from controlplane.domain.tenants import Tenant, TenantState
from controlplane.domain_settings import parse_nameserver
from controlplane.fleet.drift_watch import DriftWatch
from controlplane.fleet.online import OnlineUpgrades
from controlplane.fleet.roller import Roller
from controlplane.fleet.upgrading import Upgrader
from controlplane.fleet.warm_pool import WarmPool
from controlplane.fleet.ways import Compiled
from controlplane.provisioning.crew import Crew, Failpoint, nowhere
from controlplane.provisioning.domain_watch import DomainWatch
from controlplane.provisioning.engine import Engine
from controlplane.provisioning.hints import listen
from controlplane.provisioning.leases import Heartbeat, Timing
from controlplane.provisioning.mail import Mailroom, RenderWelcome
from controlplane.provisioning.reaper import Reaper
from controlplane.provisioning.step import LocalStep, RemoteStep
from controlplane.provisioning.steps.activate import Activate
from controlplane.provisioning.steps.admin import Admin
from controlplane.provisioning.steps.bury import Bury
from controlplane.provisioning.steps.condemn import Condemn
from controlplane.provisioning.steps.dns import Dns
from controlplane.provisioning.steps.orphan import Disown, OrphanRecord, OrphanSchema
from controlplane.provisioning.steps.rename import NamedRecord, Switch
from controlplane.provisioning.steps.repair import Inspect, Upgrade
from controlplane.provisioning.steps.retire import Retire
from controlplane.provisioning.steps.schema import Schema
from controlplane.provisioning.steps.sessions import Sessions
from controlplane.provisioning.steps.standing import Standing
from controlplane.provisioning.steps.verify import Verify
from controlplane.provisioning.steps.welcome import Welcome
from controlplane.settings import Settings
from controlplane.store import deliveries, domains, rollouts, warm_schemas
from controlplane.store.deliveries import Delivery
from controlplane.store.operations import OPERATIONS_CHANNEL
from controlplane.tenancy import lint
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.newest import newest
from controlplane.wiring import Parts, app_login, warm_recipe

# A name rests so long in any case: for a few seconds an app server may still lead it to the tenant
# that has let go of it (controlplane.routing.known.Ages).
_UNBELIEVED = timedelta(minutes=1)


def timing(settings: Settings) -> Timing:
    """The worker's times."""
    return Timing(
        lease_s=settings.worker_lease_s,
        beat_s=settings.worker_beat_s,
        call_s=settings.worker_call_s,
        poll_s=settings.worker_poll_s,
        margin_s=min(2.0, settings.worker_lease_s / 10),
        # An idle loop turns once a poll, and is not a stalled one.
        stall_s=60.0 + settings.worker_poll_s,
    )


def open_steps(parts: Parts) -> dict[str, LocalStep | RemoteStep]:
    """Every step that a plan may name."""
    login = app_login(parts.settings)
    quarantine = max(timedelta(days=parts.settings.quarantine_days), _UNBELIEVED)
    return {
        "schema": Schema(parts.template, login, warm_recipe(parts.settings, parts.template)),
        "admin": Admin(),
        "dns": Dns(parts.dns, parts.settings.dns_target),
        "verify": Verify(parts.owner, parts.tenancy, parts.template, login),
        "activate": Activate(),
        "sessions": Sessions(),
        "retire": Retire(),
        "condemn": Condemn(),
        "bury": Bury(quarantine),
        "suspend": Standing(TenantState.SUSPENDED),
        "serve": Standing(TenantState.ACTIVE),
        "inspect": Inspect(),
        "upgrade": Upgrade(parts.template),
        "welcome": Welcome(),
        "new_record": NamedRecord(parts.dns, parts.settings.dns_target, "subdomain"),
        "switch": Switch(quarantine),
        "old_record": NamedRecord(parts.dns, parts.settings.dns_target, "old"),
        "disown": Disown(),
        "orphan_record": OrphanRecord(parts.dns, parts.settings.dns_target),
        "orphan_schema": OrphanSchema(),
    }


def welcome_renderer(settings: Settings) -> RenderWelcome:
    """Renders the welcome mail of a delivery; its links are built from the tenant's row."""
    from controlplane_emails import mime, own_templates, render  # noqa: PLC0415  Jinja: the worker's

    templates, home = settings.mail_templates, settings.base_domain
    if templates is not None:
        own_templates.check(templates)

    def welcome(delivery: Delivery, tenant: Tenant, token: str) -> Message:
        letter = letters.Welcome(
            to=delivery.recipient,
            tenant_name=tenant.name,
            tenant_url=settings.url_of(tenant.subdomain),
            person_name=tenant.admin_name,
            token=token,
            valid_for=timedelta(hours=settings.setup_token_hours),
        )
        message_id = mime.message_id(delivery.operation_id, delivery.template, home)
        return render.render(letter, message_id=message_id, templates=templates)

    return welcome


def open_engine(parts: Parts, *, failpoint: Failpoint = nowhere) -> Engine:
    """The loop that drives operations; `run` it."""
    times = timing(parts.settings)
    crew = Crew(parts.owner, parts.installation, open_steps(parts), times, failpoint)
    direct = parts.settings.database_url_direct.get_secret_value()
    return Engine(crew, Heartbeat(direct, times), slots=parts.settings.worker_slots)


def open_mailroom(parts: Parts, *, failpoint: Failpoint = nowhere) -> Mailroom:
    """The loop that delivers mail; `run` it."""
    return Mailroom(
        database=parts.owner,
        sender=parts.sender,
        render=welcome_renderer(parts.settings),
        token_ttl=timedelta(hours=parts.settings.setup_token_hours),
        timing=timing(parts.settings),
        failpoint=failpoint,
    )


def open_reaper(parts: Parts) -> Reaper:
    """The loop below the leases: takes up again, forgets, reconciles; `run` it."""
    return Reaper(
        database=parts.owner,
        installation=parts.installation,
        dns=parts.dns,
        dns_target=parts.settings.dns_target,
        deadline_s=parts.settings.operation_deadline_s,
        newest=newest(parts.template),
        every_s=parts.settings.reaper_every_s,
    )


def open_roller(parts: Parts) -> Roller:
    """The loop that carries rollouts out; `run` it."""
    database, direct = open_upgrades(parts.settings), parts.settings.database_url_direct
    return Roller(
        database=database,
        digest=parts.template.digest,
        upgrader=Upgrader(database, parts.installation, Compiled(parts.template)),
        online=OnlineUpgrades(
            url=direct.get_secret_value(),
            installation=parts.installation,
            template=parts.template,
        ),
        lanes=parts.settings.worker_slots,
        poll_s=parts.settings.worker_poll_s,
    )


def open_drift_watch(parts: Parts) -> DriftWatch:
    """The loop that compares schemas with the template; `run` it."""
    return DriftWatch(
        database=parts.owner,
        installation=parts.installation,
        app_login=app_login(parts.settings),
        template=parts.template,
        every_s=parts.settings.drift_every_s,
    )


def open_warm_pool(parts: Parts) -> WarmPool:
    """The loop that makes schemas ahead; `run` it."""
    return WarmPool(
        database=parts.owner,
        installation=parts.installation,
        template=parts.template,
        app_login=app_login(parts.settings),
        recipe=warm_recipe(parts.settings, parts.template),
        size=parts.settings.warm_pool_size,
    )


def open_domain_watch(parts: Parts) -> DomainWatch:
    """The loop that looks at the DNS of tenants' own domains; `run` it."""
    from controlplane_dns.lookup import ResolverLookup  # noqa: PLC0415  dnspython: the worker's

    settings = parts.settings
    nameservers = [parse_nameserver(each) for each in settings.domain_nameservers]
    return DomainWatch(
        database=parts.owner,
        lookup=ResolverLookup(timeout_s=settings.worker_call_s, nameservers=nameservers),
        base_domain=settings.base_domain,
        dns_target=settings.dns_target,
    )


async def run_worker(parts: Parts, stopping: asyncio.Event) -> None:
    """The loops of one worker, until `stopping` is set."""
    engine, mailroom = open_engine(parts), open_mailroom(parts)
    watch, roller, pool = open_domain_watch(parts), open_roller(parts), open_warm_pool(parts)
    wake = {
        OPERATIONS_CHANNEL: engine.wake,
        deliveries.CHANNEL: mailroom.wake,
        domains.CHANNEL: watch.wake,
        rollouts.CHANNEL: roller.wake,
        warm_schemas.CHANNEL: pool.wake,
    }
    direct = parts.settings.database_url_direct.get_secret_value()
    # The first tenant must not wait for Alembic: about a second, once per process.
    await asyncio.to_thread(compiled, parts.template)
    await asyncio.to_thread(lint.warn, parts.template)
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run(stopping))
        group.create_task(mailroom.run(stopping))
        group.create_task(open_reaper(parts).run(stopping))
        group.create_task(watch.run(stopping))
        group.create_task(roller.run(stopping))
        group.create_task(pool.run(stopping))
        group.create_task(open_drift_watch(parts).run(stopping))
        group.create_task(listen(direct, wake, stopping))
