#!/bin/sh
# Runs the tests of python/neap and of examples/surface-inspection and prints unittest's summary. Prefers the
# environment of tools/bootstrap_python.sh; with Debian's Python alone, test_compression is reported as skipped.
# Arguments go to unittest: run.sh test_package -v
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
python=${NEAP_TEST_PYTHON:-$root/build/deps/venv/bin/python}
[ -x "$python" ] || python=/usr/bin/python3
[ -x "$python" ] || { echo "run.sh: /usr/bin/python3 is missing; install the Debian package python3" >&2; exit 1; }

[ $# -gt 0 ] || set -- test_package test_make_data test_training test_compression
cd "$here"
PYTHONPATH="$root/python:$here" PYTHONDONTWRITEBYTECODE=1 exec "$python" -m unittest "$@"
