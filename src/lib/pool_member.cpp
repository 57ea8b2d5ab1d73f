// SPDX-License-Identifier: BSD-3-Clause
#include "lib/pool_member.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <utility>

#include "lib/tree_memory.hpp"

namespace flowfs::lib {
namespace {

using pool::PoolGeometry;

constexpr const char* kShared = "shared";
constexpr Micros kBetweenComplaints{100'000};

}  // namespace

PoolMember::PoolMember(const PoolGeometry& geometry, std::span<std::byte> memory, pool::Holder self,
                       std::uint64_t serial)
    : serial_(serial),
      slab_(geometry, memory, self, std::to_underlying(self)),
      cache_(slab_),
      populated_(UINT32_MAX) {}

PoolMember::PoolMember(Fd file, Mapping memory, const PoolGeometry& geometry,
                       const flowfs_pool_attach& answer)
    : file_(std::move(file)),
      mapping_(std::move(memory)),
      serial_(answer.serial),
      slab_(geometry, mapping_.bytes(), pool::Holder{answer.holder}, answer.holder),
      cache_(slab_),
      populated_(answer.populated) {}

Result<std::shared_ptr<PoolMember>> PoolMember::open(const std::string& mount,
                                                     const std::string& name) {
  const std::string path = mount + "/pools/" + name;
  Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!file) {
    return fail_errno("open pool");
  }
  flowfs_pool_attach answer{};
  if (::ioctl(file.get(), FLOWFS_IOC_POOL, &answer) != 0) {
    return fail_errno("pool");
  }
  const auto geometry = PoolGeometry::from(answer);
  if (!geometry) {
    return std::unexpected(geometry.error());
  }
  if (const Status introduced = introduce(file); !introduced) {
    return std::unexpected(introduced.error());
  }
  const MemoryName known = name == kShared ? MemoryName{FLOWFS_MEMORY_SHARED_POOL, 0}
                                           : MemoryName{FLOWFS_MEMORY_POOL, ::geteuid()};
  auto memory = map_memory(file, geometry->pool_bytes(), Mapping::Access::read_write, mount, known);
  if (!memory) {
    return std::unexpected(memory.error());
  }
  if (pool::check_pool(memory->bytes(), *geometry, answer.serial) != pool::AttachOutcome::ok) {
    return fail(EPROTO, "pool");
  }
  return std::shared_ptr<PoolMember>(
      new PoolMember(std::move(file), std::move(*memory), *geometry, answer));
}

Living<std::string, PoolMember>& PoolMember::living() {
  static auto* const all = new Living<std::string, PoolMember>;
  return *all;
}

Result<std::shared_ptr<PoolMember>> PoolMember::of(const std::string& mount) {
  Result<std::shared_ptr<PoolMember>> member = fail(ENOENT, "no pool");
  // Which one is decided by the mode bits of the files, for this process as it is now.
  for (const std::string& name : {std::string(kShared), std::to_string(::geteuid())}) {
    std::string path = mount;
    path.append("/pools/").append(name);
    if (::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) != 0) {
      continue;
    }
    member = living().of(path, [&] { return open(mount, name); });
    if (member) {
      break;
    }
  }
  return member;
}

Result<pool::LaneNumber> PoolMember::join(std::uint64_t flow) const {
  flowfs_pool_lane asked{.flow = flow, .lane = 0, .reserved = 0};
  if (::ioctl(file_.get(), FLOWFS_IOC_POOL_LANE, &asked) != 0) {
    return fail_errno("pool lane");
  }
  return pool::LaneNumber{asked.lane};
}

std::optional<pool::BlockRef> PoolMember::allocate(std::size_t bytes) {
  const auto fitting = slab_.geometry().class_for(bytes);
  if (!fitting) {
    return std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  if (!populate(*fitting)) {
    return std::nullopt;
  }
  const auto block = cache_.try_allocate(*fitting);
  return block || !complain(*fitting) ? block : cache_.try_allocate(*fitting);
}

bool PoolMember::populate(unsigned class_index) {
  if ((populated_ >> class_index & 1U) == 0) {
    if (!ask_for(class_index)) {
      return false;
    }
    populated_ |= 1U << class_index;
  }
  return true;
}

// Has the daemon look for blocks that were left behind; not for each loan while a pool is used up.
bool PoolMember::complain(unsigned class_index) {
  const Instant now = Clock::now();
  if (now < next_complaint_) {
    return false;
  }
  next_complaint_ = now + kBetweenComplaints;
  return ask_for(class_index | FLOWFS_POOL_EXHAUSTED);
}

bool PoolMember::ask_for(std::uint32_t wanted) const {
  return file_ && ::ioctl(file_.get(), FLOWFS_IOC_POOL_CLASS, &wanted) == 0;
}

void PoolMember::free(pool::BlockRef ref) {
  const std::lock_guard lock(mutex_);
  // False: somebody of the domain has scribbled on its owner word; the daemon sees to the block.
  static_cast<void>(cache_.free(ref));
}

std::span<std::byte> PoolMember::bytes_of(const flowfs_block& named) const {
  if (named.pool != serial_ || !slab_.geometry().contains(named)) {
    return {};
  }
  return slab_.bytes({.block = named.block, .generation = named.generation})
      .subspan(named.offset, named.length);
}

}  // namespace flowfs::lib
