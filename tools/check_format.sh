#!/usr/bin/env bash
# Every tracked C++ file is as clang-format-19 would write it. `tools/check_format.sh --fix` rewrites.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(git ls-files -co --exclude-standard '*.cc' '*.h')
if [ "${1:-}" = --fix ]; then
  printf '%s\0' "${files[@]}" | xargs -0 -n 40 -P 2 clang-format-19 -i
  exit 0
fi
printf '%s\0' "${files[@]}" | xargs -0 -n 40 -P 2 clang-format-19 --dry-run -Werror
echo "format: ${#files[@]} files"
