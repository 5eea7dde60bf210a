"""Every setting, read from the environment here and nowhere else.

`CONTROLPLANE_<NAME>`, except `DATABASE_URL` and `DATABASE_URL_DIRECT`. A secret may come from a
file instead: `<NAME>_FILE` names it. All faults are reported at once.
"""

import ipaddress
import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from controlplane.dns_settings import DnsSettings
from controlplane.domain.tenants import Tier
from controlplane.domain_settings import DomainSettings
from controlplane.errors import SettingsInvalid
from controlplane.mail_settings import MailSettings

_PREFIX = "CONTROLPLANE_"
_LEVELS = ("debug", "info", "warning", "error")


Model = TypeVar("Model", bound=BaseModel)
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[int, Field(ge=0, le=1_000_000)]


class Settings(DnsSettings, DomainSettings, MailSettings):
    """See docs/reference/settings.md, which a test compares with these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The control login's URL, possibly through a pooler in transaction mode.
    database_url: SecretStr
    # The owner's URL, never through a pooler: migrations, DDL, LISTEN and the worker.
    database_url_direct: SecretStr
    # The app servers' login, with which a new tenant is verified and tenant hosts are served.
    app_database_url: SecretStr

    # How a tenant's address is built: {host} is `<subdomain>.<base_domain>`.
    tenant_url: str = "https://{host}"

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=8080, ge=0, le=65535)
    body_limit_bytes: int = Field(default=1_048_576, gt=0)
    # Whoever reads /metrics sends it; without one, only internal hosts are answered.
    metrics_token: SecretStr | None = Field(default=None, min_length=16)
    # Whose X-Forwarded-Host is believed: the networks of the proxies in front.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    # What replicas share besides PostgreSQL; needs the extra `redis`. Its loss stops nothing.
    redis_url: SecretStr | None = None

    # What tenants' users and API clients sign in with, until there are sessions: the key of HS256.
    tenant_token_key: SecretStr | None = Field(default=None, min_length=32)
    # What tenants' secrets are sealed with before they are stored.
    secrets_key: SecretStr | None = Field(default=None, min_length=32)

    # Requests per minute on tenants' hosts: of a tenant, of who speaks there, of the address of
    # somebody unknown. 0 is no limit; a tier that is named has its own instead of the tenant's.
    rate_limit_tenant: Rate = 1_000
    rate_limit_principal: Rate = 300
    rate_limit_address: Rate = 300
    rate_limit_tiers: tuple[tuple[Tier, Rate], ...] = ()

    tenant_template: Path | None = None
    # What app servers serve, each as it stands in the registry; a rollout elsewhere is refused.
    served_revisions: tuple[str, ...] = ()
    # Days for which a deleted tenant can be restored.
    grace_days: int = Field(default=30, ge=0, le=36_500)
    # Days for which nobody else may claim the subdomain that a tenant had until lately.
    quarantine_days: int = Field(default=30, ge=0, le=36_500)

    setup_token_hours: Positive = 72

    operation_deadline_s: Positive = 300
    worker_slots: int = Field(default=2, ge=1, le=64)
    worker_lease_s: Positive = 30
    worker_beat_s: Positive = 10
    worker_call_s: Positive = 8
    worker_poll_s: Positive = 1
    reaper_every_s: Positive = 60
    # How often a worker compares tenants' schemas with the template; 0 for never.
    drift_every_s: float = Field(default=3600, ge=0)
    # Schemas that workers keep ready for tenants to come; 0 for none.
    warm_pool_size: int = Field(default=0, ge=0, le=1000)
    pool_size: int = Field(default=10, ge=1, le=500)

    log_level: str = "info"
    log_format: str = Field(default="json", pattern="^(json|console)$")

    @field_validator("database_url", "database_url_direct", "app_database_url")
    @classmethod
    def _postgres(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://; no other database is supported")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        try:
            _ = url and urlsplit(url.get_secret_value()).port
        except ValueError:
            # Of a password with a / in it, the client would tell a part.
            raise ValueError("must be a URL; what is special in its password as %XX") from None
        return url

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, text: str) -> list[IPv4Network | IPv6Network]:
        try:
            return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
        except ValueError:
            raise ValueError("must be networks such as 10.0.0.0/8, with commas between") from None

    @field_validator("rate_limit_tiers", mode="before")
    @classmethod
    def _by_tier(cls, text: str) -> list[tuple[str, str]]:
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        if not all(
            name.strip() in [*Tier] and number.strip().isdigit() for name, _, number in pairs
        ):
            raise ValueError("must be tiers with numbers, such as professional=5000,enterprise=0")
        return [(name.strip(), number.strip()) for name, _, number in pairs]

    @field_validator("served_revisions", mode="before")
    @classmethod
    def _revisions(cls, text: str) -> list[str]:
        return [",".join(sorted(each.split(","))) for each in text.split()]

    @field_validator("worker_beat_s")
    @classmethod
    def _in_time(cls, beat_s: float, info: ValidationInfo) -> float:
        if beat_s > info.data.get("worker_lease_s", beat_s * 2) / 2:
            raise ValueError("must be at most half of CONTROLPLANE_WORKER_LEASE_S")
        return beat_s

    @field_validator("tenant_url")
    @classmethod
    def _has_host(cls, template: str) -> str:
        if "{host}" not in template:
            raise ValueError("must hold {host}, which becomes the tenant's host name")
        if not template.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// or http://")
        return template

    @field_validator("log_level")
    @classmethod
    def _level(cls, level: str) -> str:
        if level.lower() not in _LEVELS:
            raise ValueError(f"must be one of {', '.join(_LEVELS)}")
        return level.lower()

    def url_of(self, subdomain: str) -> str:
        """The address of a tenant, made from its row and never from a request."""
        return self.tenant_url.replace("{host}", f"{subdomain}.{self.base_domain}")


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of the process. Raises SettingsInvalid that lists every fault."""
    return _validated(Settings, environment)


def load_client(environment: Mapping[str, str] | None = None) -> "ClientSettings":
    """The settings of a command that talks to the API. Raises SettingsInvalid."""
    return _validated(ClientSettings, environment)


def load_dev(environment: Mapping[str, str] | None = None) -> "DevSettings":
    """What `dev` and `demo` take from outside. Raises SettingsInvalid."""
    return _validated(DevSettings, environment)


def given(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of Settings that are set, files read. Raises SettingsInvalid."""
    values, unread = _read(Settings, os.environ if environment is None else environment)
    _refuse(list(unread.values()))
    return {variable(field): value for field, value in values.items()}


def child_environment(values: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that we start: ours, with these settings and no others."""
    known = {variable(field) for field in Settings.model_fields}
    ours = known | {f"{name}_FILE" for name in known}
    return {**{k: v for k, v in os.environ.items() if k not in ours}, **values}


def _validated(model: type[Model], environment: Mapping[str, str] | None) -> Model:
    given = os.environ if environment is None else environment
    values, unread = _read(model, given)
    faults = list(unread.values())
    try:
        made = model.model_validate(values)
    except ValidationError as error:
        invalid = ((str(fault["loc"][0]), fault["msg"]) for fault in error.errors())
        faults += [f"{variable(field)}: {msg}" for field, msg in invalid if field not in unread]
    _refuse(faults)
    return made


def _refuse(faults: list[str]) -> None:
    if faults:
        raise SettingsInvalid(f"These settings do not fit: {'; '.join(faults)}.")


def _read(
    model: type[BaseModel], given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """By field: the values that are given, by variable or by file; the files that are no use."""
    values: dict[str, str] = {}
    unread: dict[str, str] = {}
    for field in model.model_fields:
        name = variable(field)
        path = given.get(f"{name}_FILE")
        if path is None:
            values.update({field: given[name]} if name in given else {})
            continue
        try:
            values[field] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            unread[field] = f"{name}_FILE: {path} cannot be read ({reason})"
    return values, unread


def variable(field: str) -> str:
    """The environment variable of a field."""
    return field.upper() if field.startswith("database_url") else f"{_PREFIX}{field.upper()}"


class ClientSettings(BaseModel):
    """What a command that talks to the API needs."""

    model_config = ConfigDict(frozen=True)

    url: str = "http://127.0.0.1:8080"
    token: SecretStr | None = None
    tenant_template: Path | None = None


class DevSettings(BaseModel):
    """What `dev` and `demo` need: an administrator's URL, where the embedded server is not wanted."""

    model_config = ConfigDict(frozen=True)

    database_url: SecretStr | None = None
