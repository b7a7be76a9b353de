"""How often and how patiently a lost connection is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Exponential back-off; the defaults give up after about 24 s.

    Attributes:
        tries: attempts in a row without a new frame before giving up.
        first_delay: seconds before the first attempt; doubled for each further one.
        max_delay: upper limit of a delay, seconds.
    """

    tries: int = 6
    first_delay: float = 0.5
    max_delay: float = 8.0

    def delay(self, attempts: int) -> float:
        """Seconds to wait before the next attempt when `attempts` have failed in a row."""
        return min(self.first_delay * 2.0**attempts, self.max_delay)
