"""The control endpoint: plans faults, releases hangs, and lists what happened, as JSON.

Decides nothing: every route is one call of the emulator's own methods. Unsigned, so it
belongs on a loopback address or a closed network only.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ims_gateway.emulator.faults import read_plan

if TYPE_CHECKING:
    from ims_gateway.emulator.server import Emulator

PREFIX = "/emulator/"


class Control:
    """Handles the requests under /emulator/."""

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._routes = {
            ("GET", "healthz"): self._show_health,
            ("GET", "jobs"): self._list_jobs,
            ("GET", "counts"): self._show_counts,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "release"): self._release,
            ("POST", "reset"): self._reset,
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request: 200, or 400 and 404 with {"error": text}."""
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX)))
        if route is None:
            return web.json_response({"error": "no such route"}, status=404)
        try:
            return web.json_response(route(await request.json() if request.body_exists else None))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    def _show_health(self, _: Any) -> Mapping[str, Any]:
        return {"status": "ok", "hanging": self._emulator.hanging}

    def _list_jobs(self, _: Any) -> list[Mapping[str, Any]]:
        return [self._emulator.describe(job) for job in self._emulator.jobs]

    def _show_counts(self, _: Any) -> Mapping[str, Any]:
        return self._emulator.counts.document()

    def _add_fault(self, document: Any) -> Mapping[str, Any]:
        self._emulator.add_fault(read_plan(document))
        return {"waiting": len(self._emulator.faults)}

    def _clear_faults(self, _: Any) -> Mapping[str, Any]:
        self._emulator.clear_faults()
        return {"waiting": 0}

    def _release(self, _: Any) -> Mapping[str, Any]:
        released = self._emulator.hanging
        self._emulator.release()
        return {"released": released}

    def _reset(self, _: Any) -> Mapping[str, Any]:
        self._emulator.reset()
        return {"status": "ok"}
