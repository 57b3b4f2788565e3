# Sourced: a peer that tests talk to, built from a pinned Go module of ours under tests/peers.
#
# build_go_peer FOLDER PROGRAM [PLACE MODFILE GO-FLAGS...]: tests/peers/FOLDER becomes build/deps/PLACE/PROGRAM (PLACE is
# FOLDER where none is named), at the versions of MODFILE (go.mod); quick when it is there and nothing of the module
# changed. Wants die() and the repository's root as working directory.
build_go_peer() {
  local source_dir=tests/peers/$1 target=$PWD/build/deps/${3:-$1} program=$2 modfile=${4:-go.mod} wanted
  shift $(($# > 4 ? 4 : $#))
  wanted=$( (cat "$source_dir/main.go" "$source_dir/$modfile" "$source_dir/${modfile%.mod}.sum"; printf '%s' "$*") | sha256sum | cut -d' ' -f1)
  if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$target/$program" ]; then return; fi
  command -v go >/dev/null ||
    die "go is missing or not in PATH; run tools/bootstrap_languages.sh test and source build/deps/env.sh"
  mkdir -p "$target"
  (cd "$source_dir" && go build -mod=readonly -modfile="$modfile" "$@" -o "$target/$program" .) ||
    die "building $program failed; see the messages above"
  printf '%s' "$wanted" >"$target/.stamp"
}
