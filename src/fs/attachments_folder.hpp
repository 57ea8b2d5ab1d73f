// SPDX-License-Identifier: BSD-3-Clause
// buses/BUS/tap and buses/BUS/grab, and an attached interface in either.
#pragma once

#include "fs/attachments.hpp"
#include "fs/folder.hpp"

namespace flowfs::fs {

class AttachmentsFolder : public Folder {
 public:
  AttachmentsFolder(Buses& buses, Attachments& attachments)
      : buses_(buses), attachments_(attachments), mounted_(wall_clock_now()) {}

  // Whether a node is this folder's, and not that of the buses.
  static bool has(Node node);

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  Result<std::string> value(Node file, uid_t by) override;
  void open(Request request, Node node, int flags) override;
  Result<Node> make_directory(Node directory, std::string_view name, mode_t mode,
                              registry::Opener who) override;
  Status remove_directory(Node directory, std::string_view name, uid_t by) override;

 private:
  Buses& buses_;
  Attachments& attachments_;
  timespec mounted_;
};

}  // namespace flowfs::fs
