"""What the service calls the three calls that are made to it."""

from __future__ import annotations

from typing import Final

VERSION: Final = "2020-11-09"
SUBMIT: Final = "SubmitIProductionJob"
QUERY: Final = "QueryIProductionJob"
CANCEL: Final = "CancelIProductionJob"
