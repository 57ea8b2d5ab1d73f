// SPDX-License-Identifier: BSD-3-Clause
#include "lib/status_map.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <compare>
#include <map>
#include <mutex>

#include "lib/tree_memory.hpp"

namespace flowfs::lib {
namespace {

struct Key {
  std::uint32_t major;
  std::uint32_t minor;
  std::uint32_t uid;
  auto operator<=>(const Key&) const = default;
};

// Those of this process. Never destroyed, as the ends (fork.cpp).
struct Maps {
  std::mutex mutex;
  std::map<Key, std::weak_ptr<StatusMap>> living;
};

Maps& maps() {
  static auto* const all = new Maps;
  return *all;
}

}  // namespace

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
  Maps& all = maps();
  const std::lock_guard lock(all.mutex);
  std::weak_ptr<StatusMap>& known =
      all.living[{.major = where.stx_dev_major, .minor = where.stx_dev_minor, .uid = uid}];
  std::shared_ptr<StatusMap> found = known.lock();
  if (!found) {
    auto opened = open(mount, uid);
    if (!opened) {
      return std::unexpected(opened.error());
    }
    known = found = std::move(*opened);
  }
  if (number >= found->slots().size()) {
    return fail(EPROTO, "status slot");
  }
  const flowfs_status* const words = &found->slots()[number];
  return std::shared_ptr<const flowfs_status>(std::move(found), words);
}

void StatusMap::before_fork() { maps().mutex.lock(); }

void StatusMap::after_fork(bool is_child) {
  if (is_child) {
    // The mappings are not in this process (MADV_DONTFORK). Whoever still points to one never uses
    // it again, nor destroys it (End::abandon).
    for (const auto& [key, known] : maps().living) {
      if (const auto living = known.lock()) {
        living->file_.reset();
      }
    }
    maps().living.clear();
  }
  maps().mutex.unlock();
}

}  // namespace flowfs::lib
