// SPDX-License-Identifier: BSD-3-Clause
// names/, names/NAME and names/NAME/security: a name is a directory, an alias a symbolic link.
#pragma once

#include <memory>
#include <unordered_map>

#include "fs/birth.hpp"
#include "fs/ends.hpp"
#include "fs/folder.hpp"
#include "fs/name_security.hpp"
#include "fs/server.hpp"
#include "registry/registry.hpp"

namespace flowfs::fs {

class NamesFolder : public Folder {
 public:
  NamesFolder(registry::Registry& registry, registry::Users& users, Ends& ends, MetaStore& metas);

  // A [[name]] of the configuration: makes it, or gives it its new settings where the declaration
  // has changed since. A name that a user made stays as it is. Errors: those of
  // Registry::create_name.
  Status declare(const DeclaredName& declared);
  void set_defaults(const registry::NameSettings& settings) { defaults_ = settings; }
  void set_longest_message(std::uint64_t bytes) { longest_message_ = bytes; }

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  [[nodiscard]] std::string target(Node link) const override;
  Result<std::string> value(Node file, uid_t by) override;
  Status set_value(Node file, std::string_view text, uid_t by) override;
  [[nodiscard]] bool has_lines(Node file) const override;
  [[nodiscard]] std::size_t longest_value(Node file) const override;
  void open(Request request, Node node, int flags) override;
  Result<Node> make_directory(Node directory, std::string_view name, mode_t mode,
                              registry::Opener who) override;
  Status remove_directory(Node directory, std::string_view name, uid_t by) override;
  Result<Node> make_link(Node directory, std::string_view name, std::string_view target,
                         registry::Opener who) override;
  Status remove_link(Node directory, std::string_view name, uid_t by) override;
  Status rename(Node directory, std::string_view from, std::string_view to, RenameMode mode,
                uid_t by) override;

 private:
  void born(registry::NameId id, uid_t uid, gid_t gid, mode_t mode);
  void gone(Kind kind, registry::NameId id);
  [[nodiscard]] const NameSecurity* find_security(registry::NameId id) const;
  Status set_security(Node file, std::string_view text);

  registry::Registry& registry_;
  registry::Users& users_;
  Ends& ends_;
  MetaStore& metas_;
  registry::NameSettings defaults_;
  std::uint64_t longest_message_ = registry::kLongestMessage;
  timespec mounted_;
  timespec changed_;  // of names/ itself
  std::unordered_map<registry::NameId, Birth> births_;
  std::unordered_map<registry::NameId, registry::NameSettings> declared_;
  std::unordered_map<registry::NameId, NameSecurity> security_;  // where something was set
};

}  // namespace flowfs::fs
