"""A sink of lines: standard output or a pipe, or a file that is rotated.

Several processes may write to one file: each writes whole lines at its end, under the file's lock,
and notices when another process, or logrotate, has moved the file away. Standard output belongs to
one gateway, whose workers share it. What it never does: leave half a line behind, where that can be
helped.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

STANDARD_OUTPUT: Final = "-"
# Records name objects and callers: they are not for everybody on the machine.
MODE: Final = 0o640


class Sink(Protocol):
    """Where lines go. Both methods may wait, and are for one thread."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines, each with its end. Raises OSError; then none or some were written."""

    def close(self) -> None:
        """Let go of the sink."""


def opened(sink: str, max_bytes: int, files: int) -> Sink:
    """Open a sink: a path, or "-" for standard output. Raises OSError where that fails."""
    if sink == STANDARD_OUTPUT:
        return Pipe(os.dup(sys.stdout.fileno()))
    descriptor = _open(Path(sink))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return RotatingFile(Path(sink), descriptor, max_bytes, files)
    return Pipe(descriptor)


class Pipe:
    """What cannot be rotated: a pipe, a terminal, a device."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False

    def write(self, lines: Sequence[bytes]) -> None:
        """Write line by line. Up to 4096 bytes nobody's lines come in between (pipe(7)).

        In longer ones those of a gateway's other workers do not either.
        """
        for line in lines:
            with self._locked():
                self._write(line)

    def close(self) -> None:
        """Close the descriptor, which is our own."""
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        rest = b"\n" + line if self._torn else line
        while rest:
            self._torn |= len(rest) < len(line)
            rest = rest[os.write(self._descriptor, rest) :]
        self._torn = False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # By process: workers have inherited one open file, so that a lock of it were everybody's.
        with suppress(OSError):
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


class RotatingFile:
    """A file of at most `max_bytes`, and its predecessors FILE.1 (the latest) to FILE.`files - 1`.

    It is never rotated with 0 as `max_bytes`.
    """

    def __init__(self, path: Path, descriptor: int, max_bytes: int, files: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._files = files

    def write(self, lines: Sequence[bytes]) -> None:
        """Write all of the lines, or none."""
        content = b"".join(lines)
        while not self._written(content):
            # First the new one: where it cannot be had, the old number must stay ours.
            successor = _open(self._path)
            os.close(self._descriptor)
            self._descriptor = successor

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _written(self, content: bytes) -> bool:
        """Write; says no where the file was moved away, by this or by another process."""
        with self._locked():
            size = os.fstat(self._descriptor).st_size
            if not self._is_current():
                return False
            if self._max_bytes and size and size + len(content) > self._max_bytes:
                self._rotate()
                return False
            try:
                self._append(content)
            except OSError:
                # Half a line would spoil the next one.
                os.ftruncate(self._descriptor, size)
                raise
            return True

    def _append(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._descriptor, content) :]

    def _is_current(self) -> bool:
        """Say whether the file that is open is still the one of that name."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """Move each file to its successor's name. The one of the present name goes last."""
        for number in range(self._files - 1, 0, -1):
            source = self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(path, flags, MODE)
