"""What happens at a row that cannot be read: the first one ends the work, or all are counted."""

from __future__ import annotations

from svit.errors import DataError


class BadRows:
    """Takes note of rows that cannot be read.

    Args:
        skip: False raises at the first bad row; True goes on past it and remembers why.

    Attributes:
        messages: one line per bad row that was passed over, in order.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.messages: list[str] = []

    def report(self, message: str) -> None:
        """Tells of a bad row; `message` names file, line and what is wrong.

        Raises:
            DataError: rows are not to be skipped.
        """
        if not self.skip:
            raise DataError(message)
        self.messages.append(message)
