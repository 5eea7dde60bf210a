"""What a command's exit code says, and what it prints when it fails."""

from enum import IntEnum

from controlplane.errors import (
    AuthenticationRequired,
    ControlPlaneError,
    NotFound,
    PermissionDenied,
)


class Exit(IntEnum):
    """Documented in `controlplane --help` and docs/reference/cli.md; tests compare."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_AUTHORISED = 4
    UNFINISHED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done, or nothing had to change",
    Exit.FAILED: "it failed; the message says why",
    Exit.USAGE: "wrong usage",
    Exit.NOT_FOUND: "there is no such tenant, operation or admin",
    Exit.NOT_AUTHORISED: "no valid token, or one that may not do this",
    Exit.UNFINISHED: "the time for waiting is over; the operation goes on",
    Exit.INTERRUPTED: "Ctrl-C; an accepted operation goes on",
}


class CommandFailed(ControlPlaneError):  # noqa: N818  named for what happened
    """The command did not do what was asked."""

    code = "command_failed"
    exit_code = Exit.FAILED

    def __init__(self, message: str, *, exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code_of(error: ControlPlaneError) -> Exit:
    """The exit code for an error of ours."""
    match error:
        case CommandFailed():
            return error.exit_code
        case NotFound():
            return Exit.NOT_FOUND
        case AuthenticationRequired() | PermissionDenied():
            return Exit.NOT_AUTHORISED
        case _:
            return Exit.FAILED


def message_of(error: ControlPlaneError) -> str:
    """The message with its stable code; a command's own failure has none worth looking up."""
    return str(error) if isinstance(error, CommandFailed) else f"{error} [{error.code}]"
