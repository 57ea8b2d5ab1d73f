// SPDX-License-Identifier: BSD-3-Clause
#include "lib/bus_attachment.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <string>
#include <utility>

#include "lib/tree_memory.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {
namespace {

// The only sender of a bus comes or goes, and with it the log, while a member opens what it was
// told of.
constexpr int kTries = 8;

Result<Fd> open_at(const Fd& folder, const std::string& path, int flags) {
  Fd fd(::openat(folder.get(), path.c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (!fd) {
    return fail_errno("open");
  }
  return fd;
}

Result<std::size_t> size_of(const Fd& file) {
  struct stat found{};
  if (::fstat(file.get(), &found) != 0) {
    return fail_errno("fstat");
  }
  return static_cast<std::size_t>(found.st_size);
}

// The geometry of a lane is told as that of a flow's.
Result<pool::Geometry> geometry_of(const flowfs_bus_attach& answer) {
  flowfs_attach lane{};
  lane.bulk_offset = answer.bulk_offset;
  lane.bulk_bytes = answer.bulk_bytes;
  lane.hot_offset = answer.hot_offset;
  lane.hot_bytes = answer.hot_bytes;
  lane.inline_bytes = answer.inline_bytes;
  lane.mtu_bytes = answer.mtu_bytes;
  return pool::Geometry::from(lane);
}

bool is_log(std::span<const std::byte> bytes) {
  if (bytes.size() <= FLOWFS_LOG_HEADER_BYTES || bytes.size() % 4096 != 0) {
    return false;
  }
  const auto& header = *reinterpret_cast<const flowfs_log*>(bytes.data());
  // acquire, pairs with the daemon's store behind the other constants.
  return pool::shared(header.magic).load(std::memory_order_acquire) == FLOWFS_LOG_MAGIC &&
         header.version == FLOWFS_LAYOUT_VERSION && header.header_bytes == FLOWFS_LOG_HEADER_BYTES;
}

}  // namespace

flowfs_segment& BusAttachment::own() const { return pool::segment_header(tx.bytes()); }

const flowfs_status& BusAttachment::status() const { return *slot; }

Status BusAttachment::is_member() const {
  // acquire, pairs with the daemon's stores in the slot.
  if (pool::shared(status().flow).load(std::memory_order_acquire) != slot_name()) {
    return fail(ECONNABORTED, "no member any more");
  }
  if ((pool::shared(status().flags).load(std::memory_order_acquire) & FLOWFS_STATUS_CORRUPT) != 0) {
    return fail(EPROTO, "poisoned");
  }
  return {};
}

Status BusAttachment::may_send() const {
  Status member = is_member();
  // acquire, as in is_member().
  if (member &&
      (pool::shared(status().flags).load(std::memory_order_acquire) & FLOWFS_STATUS_MUTE) != 0) {
    return fail(EPIPE, "shut down for sending");
  }
  return member;
}

bool BusAttachment::is_served() const {
  // acquire, pairs with StatusSlot::set_state.
  return is_member() && pool::shared(status().state).load(std::memory_order_acquire) !=
                            FLOWFS_STATE_DEALLOC_PENDING;
}

bool BusAttachment::is_deaf() const {
  // acquire, pairs with StatusSlot::close_lane.
  return pool::shared(status().closed_at).load(std::memory_order_acquire) != FLOWFS_LANE_OPEN;
}

BusAttachment::LogEnd BusAttachment::end_of(pool::Generation generation) const {
  // acquire, pairs with StatusSlot: read in the order of struct flowfs_status.
  const auto present = [this] {
    return pool::shared(status().peer_generation).load(std::memory_order_acquire);
  };
  const auto mine = std::to_underlying(generation);
  while (true) {
    const std::uint64_t now = present();
    if (now != mine) {
      const auto end = pool::shared(status().retired_at).load(std::memory_order_acquire);
      if (present() == now) {
        return {.retired = true, .gone = now != mine + 1, .position = end};
      }
      continue;
    }
    const auto end = pool::shared(status().closed_at).load(std::memory_order_acquire);
    if (present() == now) {
      return {.retired = false, .gone = false, .position = end};
    }
  }
}

Result<Mapping> BusAttachment::open_log() const {
  const auto file = open_at(*folder, "log", O_RDONLY);
  if (!file) {
    return std::unexpected(file.error());
  }
  const auto bytes = size_of(*file);
  if (!bytes) {
    return std::unexpected(bytes.error());
  }
  return map_memory(*file, *bytes, Mapping::Access::read_only, mount_path,
                    {.file = FLOWFS_MEMORY_BUS_LOG, .object = answer.member});
}

Result<std::shared_ptr<const MappedLog>> BusAttachment::map_log() const {
  // The slot says which log there is, not the log: its page may be another client's to write.
  const auto present = [this] {
    return pool::shared(status().peer_generation).load(std::memory_order_acquire);
  };
  for (int left = kTries; left > 0; --left) {
    const std::uint64_t before = present();
    auto mapping = open_log();
    if (present() != before) {
      continue;  // whatever was opened, or not
    }
    if (!mapping) {
      return std::unexpected(mapping.error());
    }
    if (!is_log(mapping->bytes())) {
      return fail(EPROTO, "log of the bus");
    }
    auto log = std::make_shared<MappedLog>(std::move(*mapping));
    log->generation = pool::Generation{before};
    return log;
  }
  return fail(EAGAIN, "log of the bus");
}

Status BusAttachment::map_own() {
  const auto bytes = size_of(tx_fd);
  if (!bytes) {
    return std::unexpected(bytes.error());
  }
  auto memory = map_memory(tx_fd, *bytes, Mapping::Access::read_write, mount_path,
                           {.file = FLOWFS_MEMORY_BUS_TX, .object = answer.member});
  if (!memory) {
    return std::unexpected(memory.error());
  }
  tx = std::move(*memory);
  if (has(FLOWFS_BUS_DIRECT)) {
    return is_log(tx.bytes()) ? Status{} : fail(EPROTO, "tx");
  }
  geometry = geometry_of(answer).value_or(pool::Geometry{});
  const bool fits =
      geometry->valid() && *bytes == geometry->segment_bytes() &&
      pool::check_segment(tx.bytes(), *geometry, slot_name(),
                          pool::Generation{answer.generation}) == pool::AttachOutcome::ok;
  return fits ? Status{} : fail(EPROTO, "tx");
}

Status BusAttachment::map_status() {
  auto found = StatusMap::slot(mount_path, tx_fd, answer.uid, answer.status_slot);
  if (!found) {
    return std::unexpected(found.error());
  }
  slot = std::move(*found);
  return {};
}

Status BusAttachment::try_attach(std::uint64_t port) {
  auto opened = open_at(*folder, "port/" + std::to_string(port) + "/tx", O_RDWR);
  if (!opened) {
    return std::unexpected(opened.error());
  }
  tx_fd = std::move(*opened);
  if (::ioctl(tx_fd.get(), FLOWFS_IOC_BUS, &answer) != 0) {
    return fail_errno("attach");
  }
  if (answer.version != FLOWFS_LAYOUT_VERSION || answer.port != port) {
    return fail(EPROTO, "attach");
  }
  if (Status introduced = introduce(tx_fd); !introduced) {
    return introduced;
  }
  for (const Status& mapped : {map_own(), map_status()}) {
    if (!mapped) {
      return mapped;
    }
  }
  if (has(FLOWFS_BUS_RECEIVES)) {
    auto log = map_log();
    if (!log) {
      return std::unexpected(log.error());
    }
    first_log = std::move(*log);
  }
  return {};
}

// Where the bus changed meanwhile it closes tx, which makes it a file again, and begins anew.
Result<std::unique_ptr<BusAttachment>> BusAttachment::attach(const std::string& mount,
                                                             const Fd& folder, std::uint64_t port) {
  for (int left = kTries;; --left) {
    auto made = std::unique_ptr<BusAttachment>(new BusAttachment);
    made->mount_path = mount;
    made->folder = &folder;
    const Status attached = made->try_attach(port);
    if (attached) {
      return made;
    }
    if (attached.error().error != EAGAIN || left == 1) {
      return std::unexpected(attached.error());
    }
  }
}

}  // namespace flowfs::lib
