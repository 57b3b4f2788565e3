#!/usr/bin/env bash
# The real kubectls the API server is tested with, in build/deps/kubectl-VERSION.
#   tools/bootstrap_kubectl.sh             1.20 and newest
#   tools/bootstrap_kubectl.sh VERSION...  these: 1.20, newest, or one of tests/peers/kubectl/VERSION.mod
#   tools/bootstrap_kubectl.sh --all       all of them
# 1.20 is Debian's package, unpacked (installing it conflicts with other packages on some machines); the others are
# built from their Go module at the version pinned there (about 90 s each, once). Quick when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
source_dir=tests/peers/kubectl
mkdir -p build/deps
exec 9>build/deps/kubectl.lock
flock 9

die() {
  printf 'bootstrap_kubectl: %s\n' "$1" >&2
  exit 1
}

. tools/go_peer.sh
build() {  # build NAME MODFILE
  local modfile=$2 version
  [ -f "$source_dir/$modfile" ] || die "no kubectl $1 is pinned in $source_dir; there are: 1.20 newest $(cd "$source_dir" && ls -- *.mod | sed 's/\.mod$//; /^go$/d' | tr '\n' ' ')"
  version=$(sed -n 's/^\tk8s.io\/kubectl v0\.//p' "$source_dir/$modfile")
  # kubectl refuses to compare versions that no release build has written into it.
  build_go_peer kubectl kubectl "kubectl-$1" "$modfile" -ldflags "-X k8s.io/component-base/version.gitVersion=v1.$version
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${version%%.*}"
}

unpack_debian() {
  local place=$root/build/deps/kubectl-1.20 work
  if [ -x "$place/kubectl" ]; then return; fi
  work=$(mktemp -d)
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq kubernetes-client 2>download.log) ||
    die "downloading Debian's kubernetes-client failed; run apt-get update, then this again ($(tail -n 1 "$work/download.log"))"
  mkdir -p "$place"
  dpkg -x "$work"/kubernetes-client_*.deb "$work/package"
  mv "$work/package/usr/bin/kubectl" "$place/kubectl"
  rm -rf -- "$work"
}

versions=("$@")
if [ $# -eq 0 ]; then versions=(1.20 newest); fi
if [ "${1:-}" = --all ]; then
  versions=(1.20 newest)
  for file in "$source_dir"/*.mod; do
    name=$(basename "$file" .mod)
    [ "$name" = go ] || versions+=("$name")
  done
fi
for version in "${versions[@]}"; do
  case $version in
    1.20) unpack_debian ;;
    newest) build newest go.mod ;;
    *) build "$version" "$version.mod" ;;
  esac
done
