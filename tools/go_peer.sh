# Sourced: a peer that tests talk to, built from a pinned Go module of ours under tests/peers.
#
# build_go_peer FOLDER PROGRAM: tests/peers/FOLDER becomes build/deps/FOLDER/PROGRAM; quick when it is there and
# nothing of the module changed. Wants die() and the repository's root as working directory.
build_go_peer() {
  local source_dir=tests/peers/$1 target=$PWD/build/deps/$1 program=$2 wanted
  wanted=$(cat "$source_dir"/{main.go,go.mod,go.sum} | sha256sum | cut -d' ' -f1)
  if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$target/$program" ]; then return; fi
  command -v go >/dev/null ||
    die "go is missing or not in PATH; run tools/bootstrap_languages.sh test and source build/deps/env.sh"
  mkdir -p "$target"
  (cd "$source_dir" && go build -mod=readonly -o "$target/$program" .) ||
    die "building $program failed; see the messages above"
  printf '%s' "$wanted" >"$target/.stamp"
}
