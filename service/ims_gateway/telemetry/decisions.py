"""The decision log: a record of every call, as lines of JSON and for the ledger.

Decides what of the records is lost where a sink cannot keep up. Lines are written by a thread of
its own, so that a slow disk slows no call. The queue is bounded: what does not fit, or cannot be
written, is counted and the count is written, so a gap is seen.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

import orjson
import structlog

from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.floods import Floods
from ims_gateway.telemetry.lines import Sink

WAITING: Final = 10_000
# In one write: a file's lock is taken once for all of them.
AT_ONCE: Final = 256
# How long a sink has at the end, for a place in the queue and for what is in it.
CLOSE_SECONDS: Final = 2.0

log = structlog.get_logger()


class Record:
    """What is on record of a call, or of many. It is spelled when it is first written."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts

    @cached_property
    def line(self) -> bytes:
        """The record as one line of JSON, with its end."""
        return _line(self.facts)

    @property
    def text(self) -> str:
        """The record as JSON."""
        return self.line.decode().rstrip()


class DecisionLog:
    """Takes the calls that have ended.

    `sink` gets their records as lines, `keep` as they are; either may be left out. `clock` gives
    seconds that only go forward.
    """

    def __init__(
        self,
        sink: Sink | None = None,
        keep: Callable[[Record], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._keep = keep
        self._floods = Floods(clock)
        # Each counted by one thread only.
        self._dropped = 0
        self._unwritten = 0
        self._queue: queue.Queue[Record | threading.Event | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        if sink is not None:
            # A daemon: one that waits for its sink for ever ends with the process.
            self._thread = threading.Thread(
                target=self._write, args=(sink,), name="decision-log", daemon=True
            )
            self._thread.start()

    @property
    def lost(self) -> int:
        """How many lines did not fit into the queue or could not be written."""
        return self._dropped + self._unwritten

    def add(self, call: Call) -> bool:
        """Take a call that has ended, and say whether it stands singly. Never waits.

        One of a flood is counted into a record that many share, and gets that record's id.
        """
        if self._floods.take(call):
            return False
        record = Record(call.record())
        self._put(record)
        if self._keep:
            self._keep(record)
        return True

    def tick(self) -> None:
        """Hand on what floods have come to; to be called once a second or so."""
        changed = self._floods.changed()
        for facts in self._floods.ended():
            self._put(Record(facts))
        if self._keep:
            for facts in changed:
                self._keep(Record(facts))

    def flush(self) -> None:
        """Return when everything that was added has been written, or is lost."""
        if self._thread is not None:
            written = threading.Event()
            self._queue.put(written)
            written.wait()

    def close(self) -> None:
        """Let all floods be over, write what is queued and close the sink.

        What a sink does not take in time is lost: a pipe that nobody reads must not keep a process
        from its end.
        """
        self._floods.close()
        self.tick()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_SECONDS)
        thread.join(CLOSE_SECONDS)
        if thread.is_alive():
            log.warning("decisions lost", sink="log", count=self._queue.qsize())

    def _put(self, record: Record) -> None:
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def _write(self, sink: Sink) -> None:
        """Write batches of what is queued, until the mark that closes the log."""
        told = 0
        closing = False
        while not closing:
            batch = self._batch()
            closing = batch[-1] is None
            lines = [record.line for record in batch if isinstance(record, Record)]
            if (lost := self.lost) > told:
                lines.append(_line({"lost_records": lost - told}))
            try:
                sink.write(lines)
                told = lost
            except OSError:
                # A full disk ends no thread: later records may find room again.
                self._unwritten += sum(isinstance(record, Record) for record in batch)
            for mark in batch:
                if isinstance(mark, threading.Event):
                    mark.set()
        sink.close()

    def _batch(self) -> list[Record | threading.Event | None]:
        """Wait for something, and take what else is there. The mark that closes comes last."""
        batch = [self._queue.get()]
        while batch[-1] is not None and len(batch) < AT_ONCE:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch


def _line(facts: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Half a surrogate pair, which JSON can only escape: no text is to cost other records.
        return json.dumps(facts, separators=(",", ":")).encode() + b"\n"
