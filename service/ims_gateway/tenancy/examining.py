"""Reads tenants' files, and says of each what it is by itself: good, bad, gone, or as it was.

Of very many files another process reads a part: reading is what a start with thousands of tenants
waits for, and a process of Python uses one core. Decides nothing between files.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ims_gateway.tenancy.filed import Filed, filed
from ims_gateway.tenancy.index import Entries
from ims_gateway.tenancy.looking import TENANTS
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.reading import ConfigurationError, Fault, text_of

# Fewer are read sooner than another process has started.
MANY: Final = 4_000
# The other one begins later.
SHARE_OF_THE_OTHER: Final = 0.36


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
        return self.path.removeprefix(TENANTS).removesuffix(".yaml")


def examine(
    folder: Path, paths: Iterable[str], platform: Platform, known: Mapping[str, Filed]
) -> list[Examined]:
    """Examine the files one after the other; `known` are tenants whose files may be unchanged."""
    return [_examine(folder, path, platform, known) for path in paths]


def examine_all(folder: Path, paths: Sequence[str], platform: Platform) -> list[Examined]:
    """Examine all files at a start, with another process where they are very many."""
    if len(paths) < MANY or os.cpu_count() == 1:
        return examine(folder, paths, platform, {})
    own = round(len(paths) * (1 - SHARE_OF_THE_OTHER))
    command = [sys.executable, "-c", f"import {__name__} as here; here.serve_another()"]
    with subprocess.Popen(  # noqa: S603 - ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None  # noqa: S101 - for mypy
        assert other.stdout is not None  # noqa: S101 - for mypy
        # One that could not start reads nothing, and its part is examined here in the end.
        with suppress(BrokenPipeError):
            pickle.dump((folder, paths[own:], platform), other.stdin)
        with suppress(BrokenPipeError):
            other.stdin.close()
        found = examine(folder, paths[:own], platform, {})
        told = other.stdout.read()
    if other.returncode:
        return found + examine(folder, paths[own:], platform, {})
    return [*found, *pickle.loads(told)]  # noqa: S301 - of our own child


def serve_another() -> None:
    """Examine what another process asks for on standard input."""
    folder, paths, platform = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own parent
    pickle.dump(examine(folder, paths, platform, {}), sys.stdout.buffer)


def _examine(folder: Path, path: str, platform: Platform, known: Mapping[str, Filed]) -> Examined:
    file = folder / path
    try:
        text = text_of(file)
        before = known.get(Examined(path).tenant)
        if before is not None and before.text == text:
            return Examined(path, same=True)
        return Examined(path, good=filed(file, text, platform))
    except ConfigurationError as error:
        return Examined(path, faults=error.faults if file.exists() else ())
