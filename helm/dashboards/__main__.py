"""Write helm/ims-gateway/dashboards/*.json, or with --check say which are out of date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from helm.dashboards.overview import OVERVIEW
from helm.dashboards.tenant import TENANT
from helm.dashboards.upstream import UPSTREAM

FOLDER: Final = Path(__file__).resolve().parents[1] / "ims-gateway" / "dashboards"
DASHBOARDS: Final = {"overview": OVERVIEW, "tenant": TENANT, "upstream": UPSTREAM}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if outdated")
    check = parser.parse_args().check
    outdated = []
    for name, dashboard in DASHBOARDS.items():
        path = FOLDER / f"{name}.json"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before != dashboard.text():
            outdated.append(path.name)
            if not check:
                path.write_text(dashboard.text(), encoding="utf-8")
    if check and outdated:
        sys.exit(f"out of date, run `make docs`: {', '.join(outdated)}")


if __name__ == "__main__":
    main()
