#!/usr/bin/env bash
# Installs what Neap's build and tests need on Debian 12. Idempotent; quick when nothing is missing.
# Usage: tools/bootstrap.sh build|test   (test adds what only tests use)
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/progress.sh
what=${1:-build}

build_packages=(clang-19 lld-19 llvm-19 clang-format-19 libclang-rt-19-dev cmake ninja-build ccache pkg-config
  libboost1.81-dev libboost-json1.81-dev libssl-dev libsqlite3-dev libyaml-dev libcli11-dev libfmt-dev
  libzstd-dev liblz4-dev libjemalloc-dev libre2-dev libgtest-dev libgmock-dev libbenchmark-dev zlib1g-dev
  python3 python3-venv python3-pip python3-torch libopenblas0-pthread dataset-fashion-mnist
  ca-certificates curl xz-utils unzip)
test_packages=(chromium coinor-libcbc-dev skopeo iproute2 sqlite3 openssl etcd-server)

packages=("${build_packages[@]}")
if [ "$what" = test ]; then packages+=("${test_packages[@]}"); fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  step "installing ${#missing[@]} packages: ${missing[*]}"
  sudo_cmd=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing and you are neither root nor is sudo there: ${missing[*]}"
    sudo_cmd=(sudo)
  fi
  mkdir -p build
  "${sudo_cmd[@]}" apt-get update -qq >build/apt.log 2>&1 || die "apt-get update failed; see build/apt.log"
  "${sudo_cmd[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >>build/apt.log 2>&1 || die "apt-get install failed; see build/apt.log"
fi

step "language tools"
tools/bootstrap_languages.sh "$what"
. build/deps/env.sh
for script in tools/bootstrap_onnxruntime.sh tools/bootstrap_python.sh; do
  step "$(basename "$script" .sh | tr _ ' ')"
  "$script"
done
if [ "$what" = test ] && [ -x tools/bootstrap_kubectl.sh ]; then
  step "kubectl to test with (about 2 minutes the first time)"
  tools/bootstrap_kubectl.sh
  step "oras to test with (about a minute the first time)"
  tools/bootstrap_oras.sh
  step "informers to test with (about a minute the first time)"
  tools/bootstrap_informers.sh
  step "OpenID Connect provider to test with"
  tools/bootstrap_oidc.sh
fi
if [ "$what" = test ]; then
  step "conformance cases of the CEL specification"
  tools/bootstrap_cel_spec.sh
fi
