// SPDX-License-Identifier: BSD-3-Clause
// What an object's maker said when it was made; the metadata of its files derives from that until
// somebody changes it.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <ctime>

#include "fs/meta.hpp"

namespace flowfs::fs {

struct Birth {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0755;  // of mkdir, less the umask
  timespec time{};

  // Of a node of the object that has this mode.
  [[nodiscard]] Meta meta(mode_t of_node) const {
    return {.mode = of_node,
            .uid = uid,
            .gid = gid,
            .acl = {},
            .access = time,
            .modified = time,
            .changed = time};
  }
  // Of the file by which others take part: `owners`, and open to group and others where the
  // object's directory is writable for them.
  [[nodiscard]] mode_t entrance_mode(mode_t owners) const {
    return owners | ((mode & S_IWGRP) != 0 ? S_IRGRP | S_IWGRP : 0U) |
           ((mode & S_IWOTH) != 0 ? S_IROTH | S_IWOTH : 0U);
  }
};

}  // namespace flowfs::fs
