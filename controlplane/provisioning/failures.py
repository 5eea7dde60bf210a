"""What an exception says about a step: that it failed, for now or for good, or nothing at all."""

from sqlalchemy.exc import DBAPIError, OperationalError

from controlplane.errors import ControlPlaneError, Permanent, StepError, Transient

# What PostgreSQL reports of a transaction that it has surely rolled back, and that may work later:
# rollback (deadlock, serialisation), resources, objects in use, and a statement cut off.
_PASSING = ("40", "53", "55", "57014")


def database_failure(error: DBAPIError) -> StepError:
    """The step's failure in an error of the database; raises it again where it says nothing of
    what was committed."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or sqlstate is None:
        raise error
    if sqlstate.startswith(_PASSING):
        return Transient(f"PostgreSQL could not do it now ({type(error.orig).__name__}).")
    if isinstance(error, OperationalError):
        raise error
    return unforeseen(error)


def unforeseen(error: Exception) -> StepError:
    """A failure that no step foresaw; its text may quote data, so only its kind is told."""
    if isinstance(error, ControlPlaneError):
        return Permanent(str(error))
    return Permanent(f"The step failed unexpectedly ({type(error).__name__}); see the log.")
