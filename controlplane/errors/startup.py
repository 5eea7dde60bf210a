"""The control plane cannot start like this."""

from controlplane.errors.root import ControlPlaneError


class StartupError(ControlPlaneError):
    """The control plane cannot start like this."""

    code = "startup_failed"


class SettingsInvalid(StartupError):
    """The settings do not fit."""

    code = "settings_invalid"


class DatabaseUnavailable(StartupError):
    """PostgreSQL cannot be reached."""

    code = "database_unavailable"
    status = 503
    retry_after: int | None = 2


class UnsafeDatabaseRole(StartupError):
    """The app servers' login has rights that would void the isolation."""

    code = "unsafe_db_role"


class EmbeddedPostgresError(StartupError):
    """The embedded PostgreSQL cannot run."""

    code = "embedded_postgres_failed"


class TemplateInvalid(StartupError):
    """The tenant template breaks a rule."""

    code = "template_invalid"


class RevisionNeedsOnline(TemplateInvalid):
    """A data revision must run in the tenant's schema itself."""

    code = "revision_needs_online"
