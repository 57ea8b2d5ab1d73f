# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Where the daemon of scripts/up and scripts/down is mounted, and whether it runs.

mount=${FLOWFS_MOUNT:-/run/flowfs}

# Whether a flowfsd with this pid runs. A zombie does not: it waits for its parent, not for us.
runs() {
  [ "$(sed -n 's/^Name:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)" = flowfsd ] &&
    ! grep -qs '^State:[[:space:]]*[ZX]' "/proc/$1/status"
}

# The pid in the lock beside the mount, if it runs: a daemon that was killed leaves its lock behind.
daemon_pid() {
  local pid
  { read -r pid <"$mount.lock"; } 2>/dev/null || return 1
  runs "$pid" && printf '%s\n' "$pid"
}

# From mountinfo: any call that looks at the mount itself could wait for a daemon that is gone.
is_mounted() {
  awk -v point="$mount" '$5 == point { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# What a daemon leaves that was killed: its mount, its lock, and the folder if it had made it.
clear_away() {
  while is_mounted; do umount --lazy -- "$mount"; done
  ! grep -qsx 'made the directory' "$mount.lock" || rmdir -- "$mount"
  rm -f -- "$mount.lock"
}
