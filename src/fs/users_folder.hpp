// SPDX-License-Identifier: BSD-3-Clause
// users/ and users/UID: what each uid uses and may use.
#pragma once

#include "fs/folder.hpp"
#include "fs/mapped_ends.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class UsersFolder : public Folder {
 public:
  UsersFolder(registry::Users& users, MappedEnds& mapped)
      : users_(users), mapped_(mapped), mounted_(wall_clock_now()) {}

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] std::uint64_t mapped_size(Node node) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  Result<std::string> value(Node file, uid_t by) override;
  Status set_value(Node file, std::string_view text, uid_t by) override;
  [[nodiscard]] bool has_lines(Node file) const override;
  void open(Request request, Node node, int flags) override;
  Result<int> memory(Node file, bool writable, uid_t by) override;

 private:
  registry::Users& users_;
  MappedEnds& mapped_;
  timespec mounted_;
};

}  // namespace flowfs::fs
