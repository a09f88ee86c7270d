#!/bin/sh
# Builds what the image runs: a virtual environment in the folder $1 that holds what
# requirements/runtime.txt locks, the gateway and the Python client, and the list of it all (SBOM).
# The Dockerfile runs this, and so does a test.
#
#   image/build.sh FOLDER [WORK]     WORK is for the tools of the build, and no part of the image
#
# The same sources and locks give the same files: what is installed has hashes, and no file a time.
set -eu
cd "$(dirname "$0")/.."
FOLDER=$1
WORK=${2:-$(mktemp -d)}
PYTHON=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore
export SOURCE_DATE_EPOCH=315532800

"$PYTHON" -m venv "$WORK/tools"
"$WORK/tools/bin/python" -m pip install --require-hashes --requirement requirements/image.txt

# Wheels are made of a copy: a build leaves nothing in the sources.
mkdir -p "$WORK/source" "$WORK/wheels"
cp -R README.md pyproject.toml clients proto service "$WORK/source"
"$WORK/tools/bin/python" "$WORK/source/proto/generate.py" \
	--out "$WORK/source/clients/python/src" --image "$WORK/imsgateway.binpb"
"$WORK/tools/bin/python" -m pip wheel --no-deps --no-build-isolation \
	--wheel-dir "$WORK/wheels" "$WORK/source" "$WORK/source/clients/python"

"$PYTHON" -m venv "$FOLDER"
"$FOLDER/bin/python" -m pip install --require-hashes --requirement requirements/runtime.txt
"$FOLDER/bin/python" -m pip install --no-deps --no-index "$WORK"/wheels/*.whl

# A container installs nothing, and writes no byte code either: its file system is read-only.
"$FOLDER/bin/python" -m pip uninstall --yes setuptools pip
rm "$FOLDER"/bin/*ctivate*
"$PYTHON" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$FOLDER/lib"

"$WORK/tools/bin/cyclonedx-py" environment --output-reproducible --mc-type application \
	--pyproject pyproject.toml --output-file "$FOLDER/sbom.cdx.json" "$FOLDER"
