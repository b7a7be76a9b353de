"""Several outputs in one run, opened and finished together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from svit.errors import OutputError
from svit.types import FrameResult
from svit.video.base import Source
from svit.video.contact_sheet import ContactSheet
from svit.video.mailbox import Mailbox
from svit.video.mp4 import VideoWriter
from svit.video.timeline import Timeline
from svit.video.writers import Conclusion, JsonLinesWriter, MotWriter, Writer

WAITING_RESULTS = 4
"""Results, with their pictures, that wait to be written before the next frame has to."""


class WriterGroup(Writer):
    """Several writers as one. All of them are finished, even if one of them fails."""

    def __init__(self, writers: Iterable[Writer]) -> None:
        self._writers = tuple(writers)

    def _append(self, result: FrameResult) -> None:
        for writer in self._writers:
            writer.write(result)

    def conclude(self, conclusion: Conclusion) -> None:
        """Tells every writer."""
        for writer in self._writers:
            writer.conclude(conclusion)

    def close(self) -> None:
        """Finishes every file; raises the error of one that failed only after the others are done."""
        with ExitStack() as stack:
            for writer in self._writers:
                stack.callback(writer.close)

    def discard(self) -> None:
        """Ends without any file."""
        for writer in self._writers:
            writer.discard()


def _ignore(result: FrameResult) -> None:
    """Says nothing about a result that was written."""


class BackgroundWriter(Writer):
    """Writes in a thread of its own while the next frames are looked at; same results, same order.

    An error of the writer comes out of the next `write`, or of `close` once everything is finished. Whatever
    ends the `with`, results handed over before are written first, so all outputs end with the same frame.

    Args:
        writer: a new one, used by the thread alone until it is closed.
        written: called in the thread after each result that was written.
    """

    def __init__(self, writer: Writer, written: Callable[[FrameResult], object] = _ignore) -> None:
        self._writer, self._on_written = writer, written
        self._mailbox: Mailbox[FrameResult] = Mailbox(WAITING_RESULTS)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="svit-writer", daemon=True)
        self._thread.start()

    def _append(self, result: FrameResult) -> None:
        if not self._mailbox.put(result):
            self._finish_thread()

    def _run(self) -> None:
        try:
            while (result := self._mailbox.take()) is not None:
                self._writer.write(result)
                self._on_written(result)
        except Exception as error:  # reaches the caller, nothing is lost in the thread
            self._error = error
            self._mailbox.close()

    def _finish_thread(self) -> None:
        """Waits until everything is written; raises what went wrong with it, once."""
        self._mailbox.finish()
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def conclude(self, conclusion: Conclusion) -> None:
        """Tells the writer, after all results; there can be none afterwards."""
        self._finish_thread()
        self._writer.conclude(conclusion)

    def close(self) -> None:
        """Finishes every file."""
        self.__exit__(None, None, None)

    def discard(self) -> None:
        """Ends without any file."""
        self._mailbox.close()
        self._thread.join()
        self._writer.discard()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish_thread()
        except BaseException as own:
            self._writer.__exit__(type(own), own, own.__traceback__)
            raise
        self._writer.__exit__(kind, error, trace)


def open_writers(  # noqa: PLR0913 - an argument per output
    source: Source,
    *,
    video: str | Path | None = None,
    mot: str | Path | None = None,
    jsonl: str | Path | None = None,
    contact_sheet: str | Path | None = None,
    timeline: str | Path | None = None,
    actions: int | None = 5,
) -> WriterGroup:
    """Opens the outputs that are asked for, all or none.

    Args:
        source: where the frames come from: its rate is the video's, and its files are never written.
        video: annotated video, .mp4.
        mot: MOTChallenge text, .txt; "-" is standard output.
        jsonl: JSON lines, .jsonl; "-" is standard output.
        contact_sheet: a picture of the whole video, .png.
        timeline: a picture of the actions' scores over time, .png.
        actions: classes that JSON lines name per frame; None is all.

    Raises:
        OutputError: one of them cannot be written, is the input, or is named twice; then none is begun.
    """

    def open_video(path: Path) -> Writer:
        return VideoWriter(path, source.rate)

    def open_lines(path: Path) -> Writer:
        return JsonLinesWriter(path, actions)

    kinds: list[tuple[str | Path | None, Callable[[Path], Writer]]] = [
        (video, open_video),
        (mot, MotWriter),
        (jsonl, open_lines),
        (contact_sheet, ContactSheet),
        (timeline, Timeline),
    ]
    wanted = [(Path(path), make) for path, make in kinds if path is not None]
    _refuse_collisions(source, [path for path, _ in wanted])
    writers: list[Writer] = []
    try:
        for path, make in wanted:
            writers.append(make(path))
    except BaseException:
        for writer in writers:
            writer.discard()
        raise
    return WriterGroup(writers)


def _refuse_collisions(source: Source, paths: list[Path]) -> None:
    seen: set[Path] = set()
    for path in paths:
        if source.reads(path):
            raise OutputError(f"{path}: is the input; choose another name for the output")
        if path.resolve() in seen:
            raise OutputError(f"{path}: is named for two outputs; give each its own name")
        seen.add(path.resolve())
