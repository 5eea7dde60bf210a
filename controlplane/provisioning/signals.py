"""What turns a drive from its way; none of it is an error."""


class Released(Exception):  # noqa: N818  no error
    """The operation was given back; the drive is over. `turn_s`: seconds until its turn."""

    def __init__(self, turn_s: float | None = None) -> None:
        self.turn_s = turn_s


class Reconsider(Exception):  # noqa: N818  no error
    """A cancel or the deadline showed at the fence; decide anew."""
