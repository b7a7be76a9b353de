"""Work handed from one thread to another, so that reading, looking and writing go on at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")

WAKE_SECONDS = 0.5
"""How long a wait may last, or Ctrl-C would have to wait for the next item on some systems."""


class Mailbox(Generic[T]):
    """Hands items from one thread to another: the newest only, or all in order with the sender waiting.

    Args:
        capacity: items kept at most.
        drop_old: make room by dropping the oldest; else the sender waits.
    """

    def __init__(self, capacity: int, *, drop_old: bool = False) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._drop_old = drop_old
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Adds an item; False once closed: nobody will take it."""
        with self._changed:
            while not self._drop_old and len(self._items) >= self._capacity and not self._closed:
                self._changed.wait(WAKE_SECONDS)
            if self._closed:
                return False
            while len(self._items) >= self._capacity:
                self._items.popleft()
            self._items.append(item)
            self._changed.notify_all()
            return True

    def peek(self, timeout: float) -> T:
        """The next item, left in place."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._error, timeout):
                raise TimeoutError
            if not self._items and self._error is not None:
                raise self._error
            return self._items[0]

    def take(self) -> T | None:
        """The next item; None once there will be none. After the last one raises what `fail` was given."""
        with self._changed:
            while not (self._items or self._error or self._closed):
                self._changed.wait(WAKE_SECONDS)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    def finish(self) -> None:
        """There will be no more items; those here can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """The sender broke off."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more: what is here is dropped, and a sender that waits goes on."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


class ReadAhead(Iterator[T]):
    """Iterates in a thread of its own, a few items ahead of whoever takes them; same items, same order.

    What the iteration raises comes after the items before it. A context manager; at its end the thread has
    ended, after the item it was at.

    Args:
        items: iterated by the thread alone from now on.
        count: items that wait at most.
    """

    def __init__(self, items: Iterable[T], count: int) -> None:
        self._mailbox: Mailbox[T] = Mailbox(count)
        self._thread = threading.Thread(target=self._run, args=(items,), name="svit-ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        item = self._mailbox.take()
        if item is None:
            raise StopIteration
        return item

    def _run(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                if not self._mailbox.put(item):
                    return
        except Exception as error:
            self._mailbox.fail(error)
        else:
            self._mailbox.finish()

    def close(self) -> None:
        """Ends the thread. Closing twice is fine."""
        self._mailbox.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
