#!/usr/bin/env bash
# The informers the API server is tested with, in build/deps: a Go program on client-go (about a minute, once) and
# @kubernetes/client-node, at the versions pinned in tests/peers/informers and tests/peers/client_node.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p build/deps
exec 9>build/deps/informers.lock
flock 9

die() {
  printf 'bootstrap_informers: %s\n' "$1" >&2
  exit 1
}

. tools/go_peer.sh
build_go_peer informers informers

place=$root/build/deps/client_node
wanted=$(cat tests/peers/client_node/package{,-lock}.json | sha256sum | cut -d' ' -f1)
if [ "$(cat "$place/.stamp" 2>/dev/null)" != "$wanted" ]; then
  command -v npm >/dev/null || die "npm is missing or not in PATH; run tools/bootstrap_languages.sh test and source build/deps/env.sh"
  mkdir -p "$place"
  cp tests/peers/client_node/package{,-lock}.json "$place/"
  (cd "$place" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error) || die "npm ci failed; see the messages above"
  printf '%s' "$wanted" >"$place/.stamp"
fi
