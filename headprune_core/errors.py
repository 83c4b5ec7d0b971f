"""The exceptions and the warning that this package raises on purpose."""


class HeadPruneError(Exception):
    """Base class of all errors that this package raises on purpose.

    The message is one lower-case fragment that can be shown to a user: what failed with the value found, then what is
    expected or what to do.
    """


class Cancelled(HeadPruneError):  # noqa: N818  (a request of the user, not a failure)
    """Raised inside a `progress` callback to stop a long computation.

    Attributes:
        partial: the results that were finished before the cancellation, or None.
    """

    partial: object = None


class HeadPruneWarning(UserWarning):
    """Warns that the input was adjusted, for example that empty rows were skipped or texts were truncated."""
