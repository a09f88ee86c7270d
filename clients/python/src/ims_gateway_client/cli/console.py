"""How imsctl writes to a terminal, a pipe or a file.

Decides widths and what a text from elsewhere may do to the screen. Colours follow rich: none
without a terminal, none with NO_COLOR.
"""

import os
import sys
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console

# Wide enough that no row of a table breaks where no terminal sets a width: one line a row for grep.
_UNBROKEN: Final = 1_000
_CONTROL: Final = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) != "\n"
}


def console(*, stderr: bool = False) -> Console:
    """Return a console for text that is shown as it is, without markup."""
    stream = sys.stderr if stderr else sys.stdout
    wide = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(
        file=stream,
        width=_UNBROKEN if wide else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def plain(text: str) -> str:
    """Return a text from elsewhere with its control characters spelled out.

    A display name must not move the cursor or recolour the screen of the one who lists it.
    """
    return text.translate(_CONTROL)


def print_document(message: Message) -> None:
    """Print a message as one JSON document (protobuf's JSON mapping)."""
    print(json_format.MessageToJson(message, ensure_ascii=False))  # noqa: T201 - imsctl's output


def print_line(message: Message) -> None:
    """Print a message as one line of JSON, at once, for a program that reads along."""
    line = json_format.MessageToJson(message, indent=None, ensure_ascii=False)
    print(line, flush=True)  # noqa: T201 - imsctl's output
