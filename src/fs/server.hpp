// SPDX-License-Identifier: BSD-3-Clause
// The mounted tree: what the daemon's main builds and drives.
//
// Threads: the loop's. Owns: the FUSE session and everything under the mount.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.hpp"
#include "base/result.hpp"
#include "fs/pool_options.hpp"
#include "registry/buses.hpp"
#include "registry/registry.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

// A [[name]] or [[bus]] table of the configuration. It is made at start, owned by `uid`, and not
// charged to anybody but root. Modes that are absent derive from `mode` as they would from mkdir's.
struct DeclaredObject {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0755;
};

struct DeclaredName : DeclaredObject {
  std::optional<mode_t> accept_mode;
  std::optional<mode_t> dial_mode;
  registry::NameSettings settings;
};

struct DeclaredBus : DeclaredObject {
  std::optional<mode_t> bus_mode;
  registry::BusSettings settings;
};

struct Options {
  std::string mount_point;
  bool allow_other = true;         // false: rootless where /etc/fuse.conf does not permit it
  bool passthrough = true;         // map memory through the mount where the kernel can
  bool passthrough_wanted = true;  // false: the configuration does not want it
  std::string memory_socket;       // where memory is handed out if it is not; empty: nowhere
  std::string vde_folder;          // where VDE clients of Ethernet buses plug in; empty: nowhere
  registry::NameSettings name_defaults;
  std::vector<DeclaredName> names;
  std::vector<DeclaredBus> buses;
  // The most that a name's mtu may be. More than the default needs a kernel whose requests are
  // longer than usual; request_pages() says by how much.
  std::size_t longest_message_bytes = registry::kLongestMessage;
  // Of one uid other than root, for what is over it waits; registry::kUnlimited for none.
  std::uint64_t requests_per_second = 200'000;
  bool direct = true;  // ends may be mapped; else everything goes through the daemon
  PoolOptions pools;
  std::size_t hot_ring_bytes = 28672;  // of each new segment; 4 KiB less than a multiple of 4 KiB
  std::string security = "/etc/flowfs/security";  // the administrator's (security_folder.hpp)
};

// Pages of the kernel's requests (fs.fuse.max_pages_limit) that messages of this length take. Each
// of the 16 segments that a writev may have can begin and end within a page.
inline constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t request_pages(std::size_t longest_message_bytes) {
  constexpr std::size_t kSegments = 16;
  return (longest_message_bytes + kPageBytes - 1) / kPageBytes + 2 * kSegments;
}

class Server {
 public:
  // Mounts and begins to serve on `loop`. `on_gone` runs once when the mount has gone without
  // shutdown() (unmounted by hand, connection aborted). Errors: those of mount(2); EINVAL for a
  // declared name that is not valid.
  static Result<std::unique_ptr<Server>> mount(Loop& loop, registry::Registry& registry,
                                               registry::Users& users, const Options& options,
                                               std::function<void()> on_gone);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // What SIGHUP may change: name defaults (for names made later), declared names that are new.
  void reconfigure(const Options& options);

  // Ends every wait with an error (opens: ECONNABORTED), answers what is pending and unmounts.
  // Idempotent.
  void shutdown();

  // For `flowctl doctor` by way of `version` and the log: what the kernel gave.
  [[nodiscard]] bool passthrough_in_use() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace flowfs::fs
