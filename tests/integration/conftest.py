"""Fixtures: a world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import World, a_world


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """Run a gateway with two tenants, on each kind of database."""
    async with a_world(tmp_path, database_url=database_url) as running:
        yield running


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., Any]:
    """Return what runs a gateway with other settings."""
    return lambda **options: a_world(tmp_path, **options)
