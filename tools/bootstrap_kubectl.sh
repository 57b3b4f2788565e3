#!/usr/bin/env bash
# The real clients the API server is tested with, in build/deps: kubectl of the version pinned in
# tests/peers/kubectl-newest/go.mod, built from its Go module (about 90 s once), and Debian's 1.20, unpacked
# from its package (installing it conflicts with other packages on some machines). Quick when both are there.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p build/deps
exec 9>build/deps/kubectl.lock
flock 9

die() {
  printf 'bootstrap_kubectl: %s\n' "$1" >&2
  exit 1
}

. tools/go_peer.sh
build_go_peer kubectl-newest kubectl

old=$root/build/deps/kubectl-1.20
if [ ! -x "$old/usr/bin/kubectl" ]; then
  work=$(mktemp -d)
  trap 'rm -rf -- "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq kubernetes-client 2>download.log) ||
    die "downloading Debian's kubernetes-client failed; run apt-get update, then this again ($(tail -n 1 "$work/download.log"))"
  mkdir -p "$old"
  dpkg -x "$work"/kubernetes-client_*.deb "$old"
fi
