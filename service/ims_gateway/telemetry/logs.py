"""Logs: lines of JSON on standard error, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog

# httpx logs every URL, and a URL holds the whole job; casbin logs every denied object.
TALKATIVE: Final = ("httpx", "httpcore", "casbin", "aiohttp", "alembic")


def configure() -> None:
    """Set up structlog and the standard library's logging for the process."""
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
