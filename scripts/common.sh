# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the scripts share. Source it after setting `prog`, the name in front of each line they print;
# `logged` also wants `log`, the file to write to.
# shellcheck disable=SC2154  # the two are set by who sources this

set -euo pipefail
export LC_ALL=C.UTF-8

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
: "${JOBS:=$(nproc)}"

say() { printf '%s: %s\n' "$prog" "$*"; }
fail() {
  printf '%s: error: %s\n' "$prog" "$*" >&2
  exit 1
}
need_root() { [ "$(id -u)" -eq 0 ] || fail "$1; run it as root (sudo $0)"; }

# logged TEXT COMMAND...: one line on the terminal, everything else in $log. The end of the log is
# shown when the command fails, because a pointer to a file is no help on a CI page. Not for use in a
# condition: bash would then ignore errors inside the command.
logged() {
  local text=$1 started=$SECONDS code
  shift
  say "$text"
  printf '== %s\n' "$*" >>"$log"
  set +e
  (set -e; "$@") >>"$log" 2>&1 </dev/null
  code=$?
  set -e
  [ "$code" -eq 0 ] && return 0
  tail -n 40 -- "$log" >&2
  fail "$text: failed after $((SECONDS - started)) s; the whole log is in ${log#"$root"/}"
}

# Under sudo the build folder is given back, so that the user can go on working in it.
hand_back() {
  if [ -n "${SUDO_UID:-}" ] && [ "$(stat -c %u -- "$root")" = "$SUDO_UID" ] && [ -d "$root/build" ]; then
    chown -R -- "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$root/build"
  fi
}

# Configures a preset when it is new and builds it.
build_preset() {
  local preset=$1
  shift
  # What one checkout has compiled serves the next.
  export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
  (cd -- "$root" && cmake --preset "$preset" >"build/configure-$preset.log" 2>&1) || {
    tail -n 40 -- "$root/build/configure-$preset.log" >&2
    fail "cmake --preset $preset failed; the whole log is in build/configure-$preset.log"
  }
  cmake --build "$root/build/$preset" --parallel "$JOBS" "$@"
}

# Runs the tests of a preset that is built. Some sanitizer runtimes do not start where the kernel
# randomises more address bits than they know, so randomisation is off where that is allowed.
run_tests() {
  local preset=$1 plain=()
  shift
  if setarch "$(uname -m)" -R true 2>/dev/null; then plain=(setarch "$(uname -m)" -R); fi
  # One more than there are cores: many tests spend most of their time waiting.
  "${plain[@]}" ctest --test-dir "$root/build/$preset" --output-on-failure --no-tests=error \
    --parallel "$((JOBS + 1))" "$@" </dev/null
}
