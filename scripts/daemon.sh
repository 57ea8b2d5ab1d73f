# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Where the daemon of scripts/up and scripts/down is mounted, and whether it runs.

mount=${FLOWFS_MOUNT:-/run/flowfs}

# The pid in the lock beside the mount, if that process still is a flowfsd: a daemon that was killed
# leaves its lock behind.
daemon_pid() {
  local pid
  { read -r pid <"$mount.lock"; } 2>/dev/null || return 1
  [ "$(cat -- "/proc/$pid/comm" 2>/dev/null)" = flowfsd ] || return 1
  printf '%s\n' "$pid"
}

# From mountinfo: any call that looks at the mount itself could wait for a daemon that is gone.
is_mounted() {
  awk -v point="$mount" '$5 == point { found = 1 } END { exit !found }' /proc/self/mountinfo
}
