#!/bin/sh
# Makes the Python environment for model compression: Debian's Python and torch, plus the exact packages of
# python/requirements.txt, in build/deps/venv (or the directory given as the first argument). Safe to repeat:
# with nothing changed it returns at once.
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
venv=${1:-$root/build/deps/venv}
python=${NEAP_SYSTEM_PYTHON:-/usr/bin/python3}
requirements=$root/python/requirements.txt

fail() {
    printf 'bootstrap_python: %s\n' "$1" >&2
    exit 1
}

[ -x "$python" ] || fail "$python does not exist; install the Debian packages python3, python3-venv and python3-torch"
command -v flock >/dev/null 2>&1 || fail "flock is missing; install the Debian package util-linux"

wanted=$({ "$python" -VV; cat "$requirements"; } | sha256sum | cut -d' ' -f1)
is_current() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.neap-stamp" 2>/dev/null)" = "$wanted" ]
}
is_current && exit 0

mkdir -p "$(dirname -- "$venv")"
exec 9>"$venv.lock"
flock 9
is_current && exit 0 # another bootstrap made it while this one waited

"$python" -c 'import torch, numpy' 2>/dev/null ||
    fail "$python cannot import torch; install the Debian packages python3-torch and libopenblas0-pthread"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python cannot make virtual environments; install the Debian package python3-venv"

# From scratch: an environment changed in place could keep packages that the list no longer names.
rm -rf -- "$venv"
"$python" -m venv --system-site-packages "$venv" || fail "making $venv failed; see the message above"
"$venv/bin/python" -m pip install --quiet --no-deps --disable-pip-version-check -r "$requirements" ||
    fail "installing python/requirements.txt failed; check the network and pip's index settings, then run this again"
"$venv/bin/python" -c 'import onnx, onnxruntime, torch, numpy; assert int(numpy.__version__.split(".")[0]) < 2' ||
    fail "the packages of python/requirements.txt do not work together in $venv; see the message above"
printf '%s\n' "$wanted" >"$venv/.neap-stamp"
printf 'bootstrap_python: %s is ready\n' "$venv"
