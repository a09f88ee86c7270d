"""Draw each dashboard from what its own queries say of two gateways that have something to do.

Needs Debian's prometheus and chromium. Writes build/pictures/<dashboard>.png; --keep also puts the
overview into docs/pictures/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from helm.dashboards.__main__ import DASHBOARDS, FOLDER
from tests.pictures import drawing
from tests.pictures.scene import scene
from tests.prometheus import Prometheus, running

ROOT: Final = Path(__file__).resolve().parents[2]
POINTS: Final = 110
# Enough to see that they are there.
EXEMPLARS: Final = 60
VALUES: Final = {
    "namespace": "media",
    "job": "ims-gateway",
    "pod": ".*",
    "account": ".*",
    "tenant": "acme",
    "__rate_interval": "15s",
}


async def run(seconds: float, seed: int, folder: Path) -> None:
    """Play the scene before a Prometheus, then draw."""
    program, browser = shutil.which("prometheus"), shutil.which("chromium")
    if not (program and browser):
        raise SystemExit("needs the programs prometheus and chromium")
    with tempfile.TemporaryDirectory() as place:
        async with scene(Path(place), seed) as stage:
            with running(program, Path(place), stage.metrics, interval="3s") as prometheus:
                start = time.time()
                await stage.play(seconds)
                span = (start, time.time())
                pages = {
                    name: drawn(prometheus, FOLDER / f"{name}.json", span) for name in DASHBOARDS
                }
    for name, (html, width, height) in pages.items():
        file = folder / f"{name}.html"
        file.write_text(html, encoding="utf-8")
        photograph(browser, file, width, height)


def drawn(prometheus: Prometheus, file: Path, span: tuple[float, float]) -> tuple[str, int, int]:
    """Return the dashboard's page, its width and its height."""
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    panels = []
    for what in dashboard["panels"]:
        what["title"] = written_out(what["title"], span)
        series, dots = [], []
        for target in what.get("targets", ()):
            found, examples = asked(prometheus, target, span)
            series += found
            dots += examples
        if what["type"] != "row" and not series:
            sys.stdout.write(f"no data: {file.stem}: {what['title']}\n")
        panels.append(drawing.panel(what, series, dots, span))
    return drawing.page(dashboard, panels)


def asked(
    prometheus: Prometheus, target: dict[str, Any], span: tuple[float, float]
) -> tuple[list[drawing.Series], list[tuple[float, float]]]:
    """Return what a query says, and the exemplars that belong to it."""
    query = written_out(target["expr"], span)
    if target["instant"]:
        answer = prometheus.instant(query, at=span[1])
        found = [(each["metric"], [each["value"]]) for each in answer]
    else:
        step = (span[1] - span[0]) / POINTS
        found = [(each["metric"], each["values"]) for each in prometheus.over(query, *span, step)]
    series = []
    for metric, values in found:
        points = [(float(moment), float(value)) for moment, value in values]
        known = [point for point in points if math.isfinite(point[1])]
        if known:
            series.append(drawing.Series(named(target["legendFormat"], metric), known))
    dots = []
    if target["exemplar"]:
        for each in prometheus.exemplars(query, *span):
            dots += [(one["timestamp"], float(one["value"])) for one in each["exemplars"]]
    if not target["instant"]:
        series.sort(key=lambda one: one.name)
    return series, dots[:: max(1, len(dots) // EXEMPLARS)]


def written_out(text: str, span: tuple[float, float]) -> str:
    """Return a text with the values of the dashboard's variables."""
    values = VALUES | {"__range": f"{span[1] - span[0]:.0f}s"}
    return re.sub(r"\$(\w+)", lambda name: values.get(name[1], name[0]), text)


def named(legend: str, metric: dict[str, str]) -> str:
    """Return how a series is called."""
    name = re.sub(r"\{\{(\w+)\}\}", lambda label: metric.get(label[1], ""), legend)
    return " ".join(name.split())


def photograph(browser: str, page: Path, width: int, height: int) -> None:
    """Take a picture of a page, beside it."""
    picture = page.with_suffix(".png")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = f"--window-size={width},{height}"
    subprocess.run(
        [*command, size, f"--screenshot={picture}", page.resolve().as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    sys.stdout.write(f"{picture}: {picture.stat().st_size // 1024} kB\n")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240, help="how long the scene lasts")
    parser.add_argument("--seed", type=int, default=6, help="of what happens by chance")
    parser.add_argument("--keep", action="store_true", help="keep the overview's picture")
    arguments = parser.parse_args()
    folder = ROOT / "build" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(arguments.seconds, arguments.seed, folder))
    if arguments.keep:
        shutil.copy(folder / "overview.png", ROOT / "docs" / "pictures" / "overview.png")


if __name__ == "__main__":
    main()
