"""Reads tenants' files, and says of each what it is by itself: good, bad, gone, or as it was.

Of very many files another process reads a part: reading is what a start with thousands of tenants
waits for, and a process of Python uses one core. Decides nothing between files.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from ims_gateway.tenancy.filed import Filed, filed
from ims_gateway.tenancy.index import Entries
from ims_gateway.tenancy.looking import look, tenant_in, tenants
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.reading import ConfigurationError, Fault, text_of

# Fewer are read sooner than another process has started.
MANY: Final = 4_000
# A part is what the two processes share out, and its number is a byte.
PARTS: Final = 256


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of one file. One without anything is gone, `same` is as it was."""

    path: str
    good: tuple[Filed, Entries] | None = None
    faults: tuple[Fault, ...] = ()
    same: bool = False

    @property
    def tenant(self) -> str:
        """The name of the tenant whose file it is."""
        return tenant_in(self.path)


def examine(
    folder: Path, paths: Iterable[str], platform: Platform, known: Mapping[str, Filed]
) -> list[Examined]:
    """Examine the files one after the other; `known` are tenants whose files may be unchanged."""
    # Ten thousand paths are joined sooner as text.
    return [_examine(f"{folder}/{path}", path, platform, known) for path in paths]


class Examination:
    """The examination of all tenants' files at a start.

    Of very many, another process examines some from now on, while this one still has other things
    to do, such as importing the rest of the gateway.
    """

    def __init__(self, folder: Path, paths: Sequence[str], platform: Platform) -> None:
        self._folder = folder
        self._paths = paths
        self._platform = platform
        self._other = None if len(paths) < MANY or os.cpu_count() == 1 else _Other(folder, platform)

    def finish(self) -> list[Examined]:
        """Examine what is left, and return what came of each file."""
        found: dict[str, Examined] = {}
        if self._other is not None:
            mine = _in_parts(self._folder, self._paths, self._platform, self._other.parts)
            found = {each.path: each for each in (*mine, *self._other.found())}
        # The other one may have ended early, or have looked before a file came.
        rest = [path for path in self._paths if path not in found]
        found |= {each.path: each for each in examine(self._folder, rest, self._platform, {})}
        return [found[path] for path in self._paths]


class _Other:
    """Another process that examines files; `parts` is where both take what nobody has taken yet."""

    def __init__(self, folder: Path, platform: Platform) -> None:
        self.parts, numbers = os.pipe()
        os.write(numbers, bytes(range(PARTS)))
        os.close(numbers)
        code = f"import {__name__} as here; here.examine_with_another({self.parts})"
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self.parts],
        )
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        # One that could not start reads nothing, and is missed in the end.
        with suppress(BrokenPipeError):
            pickle.dump((folder, platform), self._process.stdin)
        with suppress(BrokenPipeError):
            self._process.stdin.flush()

    def found(self) -> list[Examined]:
        """Return what came of its files; nothing where it did not end well."""
        os.close(self.parts)
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        # Read as it comes: the whole of it would stay in the process's memory for good.
        with self._process as ended:
            try:
                told: list[Examined] = pickle.load(self._process.stdout)  # noqa: S301 - of our child
            except (EOFError, pickle.UnpicklingError):
                told = []
        return [] if ended.returncode else told


def examine_with_another(parts: int) -> None:
    """Examine a share of what another process asks for on standard input."""
    gc.disable()
    folder, platform = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own parent
    found = _in_parts(folder, tenants(look(folder, 0).stamps), platform, parts)
    pickle.dump(list(found), sys.stdout.buffer)


def _in_parts(
    folder: Path, paths: Iterable[str], platform: Platform, parts: int
) -> Iterator[Examined]:
    """Examine one part of the files after the other, as long as there are any that nobody took."""
    in_part: dict[int, list[str]] = {}
    for path in paths:
        in_part.setdefault(crc32(path.encode()) % PARTS, []).append(path)
    while number := os.read(parts, 1):
        yield from examine(folder, in_part.get(number[0], ()), platform, {})


def _examine(file: str, path: str, platform: Platform, known: Mapping[str, Filed]) -> Examined:
    try:
        text = text_of(file)
        before = known.get(tenant_in(path))
        if before is not None and before.text == text:
            return Examined(path, same=True)
        return Examined(path, good=filed(tenant_in(path), text, platform))
    except ConfigurationError as error:
        return Examined(path, faults=error.faults if Path(file).exists() else ())
