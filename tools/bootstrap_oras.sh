#!/usr/bin/env bash
# oras, a client of registries that the registry is tested with, in build/deps/oras: the version pinned in
# tests/peers/oras/go.mod, built from its Go module (about a minute once). Quick when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/progress.sh
. tools/go_peer.sh
mkdir -p build/deps
exec 9>build/deps/oras.lock
flock 9
build_go_peer oras oras
