// SPDX-License-Identifier: BSD-3-Clause
// flows/ and flows/ID: one end of a flow.
#pragma once

#include "fs/ends.hpp"
#include "fs/folder.hpp"
#include "registry/registry.hpp"

namespace flowfs::fs {

class FlowsFolder : public Folder {
 public:
  FlowsFolder(registry::Registry& registry, Ends& ends);

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::vector<Child> children(Node directory) const override;
  Result<std::string> value(Node file) override;
  Status set_value(Node file, std::string_view text) override;
  void open(Request request, Node node, int flags) override;

 private:
  registry::Registry& registry_;
  Ends& ends_;
  timespec mounted_;
};

}  // namespace flowfs::fs
