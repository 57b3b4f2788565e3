#!/usr/bin/env bash
# Fetches the conformance cases of the CEL specification (npm package @bufbuild/cel-spec, Apache-2.0) into
# build/deps/cel-spec and writes them as one file of plain cases. Idempotent. NEAP_DEPS_CACHE names another
# folder for the package, to share it between checkouts.
set -euo pipefail

package=@bufbuild/cel-spec
file=bufbuild-cel-spec
version=0.6.1
package_sha256=37e4b203f5ca5192db73a6095d129fb5e58a262a89309ba32e1840e7a80270e1

root=$(cd "$(dirname "$0")/.." && pwd)
deps=$root/build/deps
cache=${NEAP_DEPS_CACHE:-$deps/cache}
target=$deps/cel-spec
converter=$root/tools/cel_cases.mjs
stamp=$target/.made_of
archive=$cache/$file-$version.tgz

die() { echo "bootstrap_cel_spec: $*" >&2; exit 1; }
made_of="$package_sha256 $(sha256sum <"$converter")"
if [[ -f $stamp && $(<"$stamp") == "$made_of" && -f $target/cases.json ]]; then
  echo "CEL conformance cases are in place: $target/cases.json"
  exit 0
fi

matches() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }

mkdir -p "$cache"
if ! matches "$archive" "$package_sha256"; then
  command -v npm >/dev/null || die "npm is missing; run tools/bootstrap.sh test"
  rm -f "$archive"
  (cd "$cache" && npm pack --silent "$package@$version" >/dev/null) ||
    die "npm pack $package@$version failed; check the network and npm's registry setting, then run this again"
  matches "$archive" "$package_sha256" ||
    die "$archive is not the pinned package (sha256 differs); it was not unpacked, remove it and try again"
fi
command -v node >/dev/null || die "node is missing; run tools/bootstrap.sh test"

staging=$(mktemp -d "$deps/.cel-spec.XXXXXX")
trap 'rm -rf "$staging"' EXIT
tar -xzf "$archive" -C "$staging" package/package.json package/dist/esm/testdata ||
  die "$archive does not unpack"
mkdir "$staging/out"
node "$converter" "$staging/package/dist/esm/testdata" "$staging/out/cases.json" ||
  die "tools/cel_cases.mjs cannot read the package's test data"
echo "$made_of" > "$staging/out/.made_of"
rm -rf "$target"
mv "$staging/out" "$target"
echo "CEL conformance cases written: $target/cases.json"
