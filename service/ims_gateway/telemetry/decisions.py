"""The decision log: one record for every call, as lines of JSON.

Written by a thread of its own, so that a slow disk slows no call. The queue is bounded: what does
not fit is counted and the count is written, so a gap is seen.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TextIO

STANDARD_OUTPUT: Final = "-"
WAITING: Final = 10_000
RECENT: Final = 1_000


class DecisionLog:
    """Takes the records of ended calls. `sink` is a file, "-" for standard output, or empty."""

    def __init__(self, sink: str) -> None:
        self.recent: deque[Mapping[str, Any]] = deque(maxlen=RECENT)
        self.lost = 0
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        if sink:
            self._thread = threading.Thread(target=self._write, args=(sink,), name="decision-log")
            self._thread.start()

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record. Never waits."""
        self.recent.append(record)
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Write what is queued and close the sink."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _write(self, sink: str) -> None:
        with ExitStack() as stack:
            lines: TextIO = sys.stdout
            if sink != STANDARD_OUTPUT:
                lines = stack.enter_context(Path(sink).open("a", encoding="utf-8"))
            while (record := self._queue.get()) is not None:
                _write_line(lines, record)
                if self.lost:
                    lost, self.lost = self.lost, 0
                    _write_line(lines, {"lost_records": lost})
                if self._queue.empty():
                    lines.flush()


def _write_line(lines: TextIO, record: Mapping[str, Any]) -> None:
    lines.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
