"""The decision log: one record for every call, as lines of JSON.

Written by a thread of its own, so that a slow disk slows no call. The queue is bounded: what does
not fit, or cannot be written, is counted and the count is written, so a gap is seen.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

STANDARD_OUTPUT: Final = "-"
WAITING: Final = 10_000
RECENT: Final = 1_000


class DecisionLog:
    """Takes the records of ended calls. `sink` is a file, "-" for standard output, or empty.

    Raises OSError for a file that cannot be opened.
    """

    def __init__(self, sink: str) -> None:
        self.recent: deque[Mapping[str, Any]] = deque(maxlen=RECENT)
        # Each counted by one thread only.
        self._dropped = 0
        self._unwritten = 0
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        if sink:
            lines = _open(sink)
            self._thread = threading.Thread(target=self._write, args=(lines,), name="decision-log")
            self._thread.start()

    @property
    def lost(self) -> int:
        """How many records did not fit into the queue or could not be written."""
        return self._dropped + self._unwritten

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record. Never waits."""
        self.recent.append(record)
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is queued and close the sink."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _write(self, lines: TextIO) -> None:
        told = 0
        with suppress(OSError), lines:
            while (record := self._queue.get()) is not None:
                # A full disk ends no thread: later records may find room again.
                try:
                    _write_line(lines, record)
                    if (lost := self.lost) > told:
                        _write_line(lines, {"lost_records": lost - told})
                        told = lost
                    if self._queue.empty():
                        lines.flush()
                except OSError:
                    self._unwritten += 1


def _open(sink: str) -> TextIO:
    if sink == STANDARD_OUTPUT:
        # A file object of its own, which can be closed; the descriptor stays open.
        return open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False)
    return Path(sink).open("a", encoding="utf-8")


def _write_line(lines: TextIO, record: Mapping[str, Any]) -> None:
    lines.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
