// SPDX-License-Identifier: BSD-3-Clause
// flows/ and flows/ID: one end of a flow.
#pragma once

#include "fs/ends.hpp"
#include "fs/folder.hpp"
#include "fs/mapped_ends.hpp"
#include "registry/registry.hpp"

namespace flowfs::fs {

class FlowsFolder : public Folder {
 public:
  FlowsFolder(registry::Registry& registry, Ends& ends, MappedEnds& mapped, Replies& replies);

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] Node lasting(Node node) const override;
  [[nodiscard]] std::uint64_t mapped_size(Node node) const override;
  [[nodiscard]] bool is_secret(Node file) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  Result<std::string> value(Node file, uid_t by) override;
  Status set_value(Node file, std::string_view text, uid_t by) override;
  void open(Request request, Node node, int flags) override;
  Result<int> memory(Node file, bool writable, uid_t by) override;

 private:
  [[nodiscard]] std::optional<Node> present(std::optional<Node> file);

  registry::Registry& registry_;
  Ends& ends_;
  MappedEnds& mapped_;
  Replies& replies_;
  timespec mounted_;
};

}  // namespace flowfs::fs
