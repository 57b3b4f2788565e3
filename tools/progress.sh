# Sourced by the scripts: steps with elapsed time, and one way to fail.
neap_started=${NEAP_STARTED:-$(date +%s)}
export NEAP_STARTED=$neap_started
step() {
  local seconds=$(($(date +%s) - neap_started))
  printf '[%3dm%02ds] %s\n' $((seconds / 60)) $((seconds % 60)) "$*"
}
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
