#!/usr/bin/env bash
# The peers of bench/throughput_table.py and bench/api_table.py in build/deps: kube-apiserver and kube-scheduler in one
# program, etcd, and kine with SQLite, at the versions pinned in tests/peers/kubernetes, tests/peers/etcd and tests/peers/kine
# (about fifteen minutes on two cores, once; 300 MB). Not part of any bootstrap: only the benchmarks ask for them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/progress.sh
. tools/go_peer.sh
mkdir -p build/deps
exec 9>build/deps/throughput_peers.lock
flock 9
build_go_peer etcd etcd
# With cgo: the SQLite that is measured is the C one, as in a release of kine.
CGO_ENABLED=1 build_go_peer kine kine
# Components refuse to compare versions that no release build has written into them.
version=$(sed -n 's/^require k8s.io\/kubernetes v//p; s/^\tk8s.io\/kubernetes v\([0-9.]*\)$/\1/p' tests/peers/kubernetes/go.mod | head -n 1)
minor=${version#*.}
build_go_peer kubernetes kubernetes kubernetes go.mod -ldflags "-X k8s.io/component-base/version.gitVersion=v$version
  -X k8s.io/component-base/version.gitMajor=${version%%.*} -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
