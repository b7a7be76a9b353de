"""Errors that a user can cause: one readable line that says what, where and what to do."""


class SvitError(Exception):
    """Base of every error that svit raises on purpose; the command line prints it as one line."""


class UsageError(SvitError):
    """A setting, option or argument that does not exist or has a value out of range (exit status 2)."""


class SourceError(SvitError):
    """A video, folder or camera that cannot be opened or read."""


class OutputError(SvitError):
    """A result that cannot be written: no permission, full disk, unknown format."""


class WeightsError(SvitError):
    """A checkpoint that is missing, truncated, of another model, or unsafe to open."""


class DataError(SvitError):
    """An annotation, ground truth or result file, or a data set's folder, that is missing or malformed."""


class TrainingError(SvitError):
    """A training that cannot go on: the loss is NaN or has exploded."""
