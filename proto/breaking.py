"""Compare the contract with the one on main, and fail where a client would break.

On main itself the comparison is with the last commit, or, where the tree has no changes to it, with
the one before.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from generate import PACKAGE, write_image

ROOT = Path(__file__).resolve().parent
REPOSITORY = ROOT.parent


def git(*arguments: str) -> bytes | None:
    """Run git; None where it fails."""
    done = subprocess.run(  # noqa: S603 - fixed program, own arguments
        ["git", "-C", str(REPOSITORY), *arguments],  # noqa: S607 - git is where PATH says
        capture_output=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def base() -> str | None:
    """Return the commit to compare with."""
    head = git("rev-parse", "HEAD")
    shared = git("merge-base", "HEAD", "origin/main") or git("merge-base", "HEAD", "main") or head
    if shared != head:
        return shared.decode().strip() if shared else None
    unchanged = git("diff", "--quiet", "HEAD", "--", "proto") is not None
    commit = git("rev-parse", "--verify", "HEAD^") if unchanged else head
    return commit.decode().strip() if commit else None


def main() -> None:
    """Run buf breaking, or say why there is nothing to compare with."""
    image = REPOSITORY / "build" / "imsgateway.binpb"
    commit = base()
    archive = git("archive", commit, "proto") if commit else None
    if archive is None:
        print("no earlier contract to compare with")  # noqa: T201 - a program speaks
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        before = Path(folder) / "before.binpb"
        write_image(Path(folder) / "proto", before)
        done = subprocess.run(  # noqa: S603 - fixed program, own arguments
            [
                str(Path(sys.executable).with_name("buf")),
                "breaking",
                str(image),
                f"--against={before}",
                f"--config={REPOSITORY / 'buf.yaml'}",
                *(
                    f"--path={PACKAGE / path.name}"
                    for path in sorted((Path(folder) / "proto" / PACKAGE).glob("*.proto"))
                ),
            ],
            check=False,
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
