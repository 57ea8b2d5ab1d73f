// SPDX-License-Identifier: BSD-3-Clause
// The mount itself: README, version, metrics, events, and the folders below it.
#pragma once

#include <functional>

#include "fs/event_log.hpp"
#include "fs/file_table.hpp"
#include "fs/folder.hpp"

namespace flowfs::fs {

class RootFolder : public Folder {
 public:
  struct Texts {
    std::function<std::string()> version;
    std::function<std::string()> metrics;
  };

  RootFolder(EventLog& events, FileTable& files, Parking& parking, Replies& replies, Texts texts);

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  Result<std::string> value(Node file, uid_t by) override;
  void open(Request request, Node node, int flags) override;

 private:
  std::string metrics_text(uid_t by);

  EventLog& events_;
  FileTable& files_;
  Parking& parking_;
  Replies& replies_;
  Texts texts_;
  timespec mounted_;
  std::string metrics_;
  Instant metrics_good_until_{};
};

}  // namespace flowfs::fs
