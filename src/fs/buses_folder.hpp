// SPDX-License-Identifier: BSD-3-Clause
// buses/, buses/BUS and buses/BUS/port/N.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "fs/birth.hpp"
#include "fs/buses.hpp"
#include "fs/folder.hpp"
#include "fs/mapped_buses.hpp"
#include "fs/server.hpp"

namespace flowfs::fs {

class BusesFolder : public Folder {
 public:
  BusesFolder(Buses& buses, MappedBuses& mapped, MetaStore& metas, Replies& replies);

  // A [[bus]] of the configuration: makes it, or gives it its new settings where the declaration
  // has changed since and nothing is in use that they forbid. A bus that a user made stays as it
  // is. Errors: those of registry::Buses::create and set_settings.
  Status declare(const DeclaredBus& declared);

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] Node lasting(Node node) const override;
  [[nodiscard]] std::uint64_t mapped_size(Node node) const override;
  Result<int> memory(Node file, bool writable, uid_t by) override;
  [[nodiscard]] bool is_derived(Node node) const override;
  [[nodiscard]] std::vector<Node> derived_from(Node node) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  [[nodiscard]] std::string target(Node link) const override;
  Result<std::string> value(Node file, uid_t by) override;
  Status set_value(Node file, std::string_view text, uid_t by) override;
  void open(Request request, Node node, int flags) override;
  Result<Node> make_directory(Node directory, std::string_view name, mode_t mode,
                              registry::Opener who) override;
  Status remove_directory(Node directory, std::string_view name, uid_t by) override;
  Status rename(Node directory, std::string_view from, std::string_view to, RenameMode mode,
                uid_t by) override;

 private:
  [[nodiscard]] std::optional<Node> existing(std::optional<Node> file) const;
  // log and tx stand for the memory there is now.
  [[nodiscard]] std::optional<Node> present(std::optional<Node> file) const;
  void born(registry::BusId id, uid_t uid, gid_t gid, mode_t mode);
  // Of a node that derives from `bus`.
  [[nodiscard]] Meta derived_meta(Node node) const;
  [[nodiscard]] Meta port_meta(Node node) const;
  [[nodiscard]] Result<std::string> port_value(Node file);
  Status set_port_value(Node file, std::string_view text);
  Status shut_down(const registry::Port& port, std::string_view text);

  Buses& buses_;
  MappedBuses& mapped_;
  MetaStore& metas_;
  Replies& replies_;
  timespec mounted_;
  Instant start_;     // the same moment
  timespec changed_;  // of buses/ itself
  std::unordered_map<registry::BusId, Birth> births_;
  std::unordered_map<registry::BusId, registry::BusSettings> declared_;
};

}  // namespace flowfs::fs
