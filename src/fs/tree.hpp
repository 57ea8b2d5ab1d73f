// SPDX-License-Identifier: BSD-3-Clause
// FUSE's operations on the tree: resolves node ids, keeps metadata, and asks the folders.
//
// Threads: the loop's.
// Owns: the folders, the open files, the waiting requests, the changed metadata.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "fs/attachments.hpp"
#include "fs/attachments_folder.hpp"
#include "fs/buses.hpp"
#include "fs/buses_folder.hpp"
#include "fs/ends.hpp"
#include "fs/event_log.hpp"
#include "fs/file_table.hpp"
#include "fs/flows_folder.hpp"
#include "fs/handshakes.hpp"
#include "fs/lock_requests.hpp"
#include "fs/mapped_ends.hpp"
#include "fs/memory_socket.hpp"
#include "fs/meta.hpp"
#include "fs/names_folder.hpp"
#include "fs/node.hpp"
#include "fs/parking.hpp"
#include "fs/pool_filler.hpp"
#include "fs/pools.hpp"
#include "fs/pools_folder.hpp"
#include "fs/root_folder.hpp"
#include "fs/server.hpp"
#include "fs/users_folder.hpp"
#include "fs/vde_switches.hpp"

namespace flowfs::fs {

// Memory for who cannot map it through the mount.
struct MemoryOffer {
  std::string path;        // of the socket; empty: none
  bool to_others = false;  // than the daemon's own uid
};

class Tree {
 public:
  Tree(Loop& loop, registry::Registry& registry, registry::Users& users, RootFolder::Texts texts);
  ~Tree();

  // The table for fuse_session_new, whose user data must be a Tree*.
  static fuse_lowlevel_ops operations();

  Status declare(const DeclaredName& declared) { return names_.declare(declared); }
  Status declare(const DeclaredBus& declared) { return buses_folder_.declare(declared); }
  void set_name_defaults(const registry::NameSettings& settings) { names_.set_defaults(settings); }
  void drain_effects() { ends_.drain_effects(); }
  // Ends every wait and drops every open file.
  void abort_all(int error);
  // The session whose kernel caches are told of changes; null when there is none (any more).
  void set_session(fuse_session* session);

  // Whether files of ours are mapped through to memfds: wanted, and agreed by the kernel at INIT.
  void want_passthrough(bool wanted) { passthrough_wanted_ = wanted; }
  // What is done where they are not.
  void offer_memory(MemoryOffer offer);
  [[nodiscard]] bool hands_out_memory() const { return memory_socket_ != nullptr; }
  // How long a request of the kernel, and the message in it, may be. Before the session is made.
  void set_longest_message(std::size_t bytes);
  [[nodiscard]] std::size_t request_bytes() const { return request_bytes_; }
  // Once after each INIT: what libfuse is about to answer is the answer to that.
  bool take_init() { return std::exchange(answering_init_, false); }
  void set_hot_ring(std::size_t bytes) {
    mapped_.set_hot_ring(bytes);
    mapped_buses_.set_hot_ring(bytes);
  }
  void set_direct(bool direct) {
    mapped_.set_direct(direct);
    mapped_buses_.set_direct(direct);
  }
  // Lets VDE clients plug into Ethernet buses, below this folder. Empty: nowhere.
  void offer_vde(const std::string& path);
  void set_security(const std::string& folder) { handshakes_.configure(folder); }
  void set_pools(const PoolOptions& options) { pools_.configure(options); }
  [[nodiscard]] bool passthrough() const { return passthrough_; }

  [[nodiscard]] const RequestCounters& counters() const { return counters_; }
  [[nodiscard]] const Parking& parking() const { return parking_; }
  [[nodiscard]] const LockTable& locks() const { return locks_.table(); }
  [[nodiscard]] std::size_t open_files() const { return files_.size(); }
  [[nodiscard]] std::size_t memory_connections() const {
    return memory_socket_ ? memory_socket_->connections() : 0;
  }
  [[nodiscard]] std::size_t vde_connections() const { return vde_.connections(); }
  [[nodiscard]] const Handshakes& handshakes() const { return handshakes_; }
  [[nodiscard]] const Pools& pools() const { return pools_; }
  [[nodiscard]] const Buses& buses() const { return buses_; }
  [[nodiscard]] const MappedBuses& mapped_buses() const { return mapped_buses_; }
  [[nodiscard]] std::uint64_t events_published() const { return events_.published(); }

 private:
  struct Operations;  // operations.hpp

  [[nodiscard]] Folder& folder(Node node);
  // The node behind an id, if it still exists.
  [[nodiscard]] std::optional<Node> resolve(fuse_ino_t id);
  [[nodiscard]] Meta meta(Node node);
  [[nodiscard]] struct stat stat_of(Node node);
  // How many seconds the kernel may keep the name, and the attributes.
  [[nodiscard]] double entry_timeout(Node node);
  [[nodiscard]] double attribute_timeout(Node node);
  void reply_entry(Request request, Node node);
  void reply_attr(Request request, Node node);
  Status change(Node node, const struct stat& wanted, int which, uid_t by);
  Status set_acl(Node node, std::span<const std::byte> bytes, uid_t by);
  // Keeps changed metadata, charged to whoever changed it.
  Status keep(Node node, Meta meta, uid_t by);
  void forget_attributes(Node node);
  void open(Request request, Node node, int flags);

  // tree_memory.cpp
  void open_memory_socket();
  void close_memory_socket();
  Result<int> memory(const flowfs_memory_request& wanted, const Caller& caller);
  Result<int> find_memory(const flowfs_memory_request& wanted, const Caller& caller);
  [[nodiscard]] registry::Rights rights_on(registry::BusId id, const Caller& caller);

  Loop& loop_;
  registry::Users& accounts_;
  RequestCounters counters_;
  Replies replies_;
  MetaStore metas_;
  Instances instances_;
  EventLog events_;
  Parking parking_;
  LockRequests locks_;
  FileTable files_;
  Backings backings_;
  Pools pools_;  // before the flows, which use it
  PoolFiller pool_filler_;
  Handshakes handshakes_;  // before the ends, which ask it
  Ends ends_;
  MappedEnds mapped_;
  Buses buses_;
  MappedBuses mapped_buses_;
  Attachments attachments_;
  VdeSwitches vde_;
  RootFolder root_;
  NamesFolder names_;
  FlowsFolder flows_;
  UsersFolder users_;
  PoolsFolder pools_folder_;
  BusesFolder buses_folder_;
  AttachmentsFolder attachments_folder_;
  MemoryOffer offer_;
  std::unique_ptr<MemorySocket> memory_socket_;  // where it is the way
  fuse_session* session_ = nullptr;
  bool passthrough_wanted_ = true;
  bool passthrough_ = false;
  bool answering_init_ = false;
  std::size_t request_bytes_;
};

}  // namespace flowfs::fs
