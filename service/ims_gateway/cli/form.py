"""In which form the commands print their results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Form(StrEnum):
    """In which form a result is printed."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[Form, typer.Option(help="For people or for programs.")]
