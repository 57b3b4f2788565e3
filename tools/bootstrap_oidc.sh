#!/usr/bin/env bash
# The OpenID Connect provider that sign-in is tested with, in build/deps/oidc: npm's oidc-provider at the version
# pinned in tests/peers/oidc.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/deps
exec 9>build/deps/oidc.lock
flock 9

place=$PWD/build/deps/oidc
wanted=$(cat tests/peers/oidc/package{,-lock}.json | sha256sum | cut -d' ' -f1)
if [ "$(cat "$place/.stamp" 2>/dev/null)" != "$wanted" ]; then
  if ! command -v npm >/dev/null; then
    echo "bootstrap_oidc: npm is missing or not in PATH; run tools/bootstrap_languages.sh test and source build/deps/env.sh" >&2
    exit 1
  fi
  mkdir -p "$place"
  cp tests/peers/oidc/package{,-lock}.json "$place/"
  (cd "$place" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
  printf '%s' "$wanted" >"$place/.stamp"
fi
