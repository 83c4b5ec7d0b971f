"""What can go wrong, in one sentence: what was found, what was expected, what to do."""


class HeadPruneError(Exception):
    """The one base class of everything this package raises on purpose; its text is fit to show to a user."""


class Cancelled(HeadPruneError):  # noqa: N818  (what the user asked for, not a failure)
    """Raised inside a `progress` callback to stop long work; `partial` holds what was finished by then, if anything."""

    partial: object = None


class HeadPruneWarning(UserWarning):
    """Something was adjusted (empty rows left out, a text cut at the model's positions) and the user should know."""
