#!/usr/bin/env bash
# Fetches ONNX Runtime (Linux x64 library and C/C++ headers) from its npm package into build/deps.
# Idempotent. NEAP_DEPS_CACHE names another folder for the 150 MB package, to share it between checkouts.
set -euo pipefail

package=com.github.asus4.onnxruntime
version=0.4.9
package_sha256=e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d
library_sha256=5715f06d8992ca8eeeddcce43df3a7d38f97d537052126f558e912cb312460ca

root=$(cd "$(dirname "$0")/.." && pwd)
deps=$root/build/deps
cache=${NEAP_DEPS_CACHE:-$deps/cache}
target=$deps/onnxruntime
stamp=$target/.package_sha256
archive=$cache/$package-$version.tgz

die() { echo "bootstrap_onnxruntime: $*" >&2; exit 1; }

if [[ -f $stamp && $(<"$stamp") == "$package_sha256" && -f $target/lib/libonnxruntime.so ]]; then
  echo "ONNX Runtime is in place: $target"
  exit 0
fi
if [[ $(uname -sm) != "Linux x86_64" ]]; then
  die "the package holds a Linux library for x86_64 only; install ONNX Runtime yourself and set NEAP_ONNXRUNTIME_DIR"
fi

matches() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }

mkdir -p "$cache"
if ! matches "$archive" "$package_sha256"; then
  command -v npm >/dev/null || die "npm is missing; install the Debian package npm and run this again"
  rm -f "$archive"
  (cd "$cache" && npm pack --silent "$package@$version" >/dev/null) ||
    die "npm pack $package@$version failed; check the network and npm's registry setting, then run this again"
  matches "$archive" "$package_sha256" ||
    die "$archive is not the pinned package (sha256 differs); it was not unpacked, remove it and try again"
fi

staging=$(mktemp -d "$deps/.onnxruntime.XXXXXX")
trap 'rm -rf "$staging"' EXIT
library=package/Plugins/Linux/x64/libonnxruntime.so
headers=package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers
tar -xzf "$archive" -C "$staging" "$library" "$headers" || die "$archive does not unpack"
matches "$staging/$library" "$library_sha256" || die "the library inside $archive is not the pinned one"
mkdir -p "$staging/out/lib" "$staging/out/include"
mv "$staging/$library" "$staging/out/lib/"
mv "$staging/$headers"/*.h "$staging/out/include/"
echo "$package_sha256" > "$staging/out/.package_sha256"
rm -rf "$target"
mv "$staging/out" "$target"
echo "ONNX Runtime unpacked: $target"
