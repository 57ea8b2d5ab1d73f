// SPDX-License-Identifier: BSD-3-Clause
#include "lib/status_map.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "lib/tree_memory.hpp"

namespace flowfs::lib {
Living<StatusMap::Key, StatusMap>& StatusMap::living() {
  static auto* const all = new Living<Key, StatusMap>;
  return *all;
}

Result<std::shared_ptr<StatusMap>> StatusMap::open(const std::string& mount, std::uint32_t uid) {
  const std::string path = mount + "/users/" + std::to_string(uid) + "/status";
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat found{};
  if (!file || ::fstat(file.get(), &found) != 0) {
    return fail_errno("status");
  }
  auto memory =
      map_memory(file, static_cast<std::size_t>(found.st_size), Mapping::Access::read_only, mount,
                 {.file = FLOWFS_MEMORY_STATUS, .object = uid});
  if (!memory) {
    return std::unexpected(memory.error());
  }
  return std::make_shared<StatusMap>(std::move(file), std::move(*memory));
}

Result<std::shared_ptr<const flowfs_status>> StatusMap::slot(const std::string& mount,
                                                             const Fd& beside, std::uint32_t uid,
                                                             std::uint32_t number) {
  struct statx where{};
  if (::statx(beside.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &where) != 0) {
    return fail_errno("statx");
  }
  auto found = living().of({.major = where.stx_dev_major, .minor = where.stx_dev_minor, .uid = uid},
                           [&] { return open(mount, uid); });
  if (!found) {
    return std::unexpected(found.error());
  }
  if (number >= (*found)->slots().size()) {
    return fail(EPROTO, "status slot");
  }
  const flowfs_status* const words = &(*found)->slots()[number];
  return std::shared_ptr<const flowfs_status>(std::move(*found), words);
}

}  // namespace flowfs::lib
