// SPDX-License-Identifier: BSD-3-Clause
// An open attribute file: a snapshot to read, a whole value to write.
#pragma once

#include <string>

#include "fs/file.hpp"
#include "fs/folder.hpp"

namespace flowfs::fs {

class AttributeFile : public File {
 public:
  AttributeFile(Folder& folder, Replies& replies, Node node, int flags)
      : File(replies, node, flags), folder_(folder) {}
  ~AttributeFile() override;

  // Offset 0 takes the snapshot; later offsets continue it.
  void read(Request request, std::size_t size, const Transfer& transfer) override;
  // Sets the whole value; offsets mean nothing, as in sysfs. But a value of several lines may come
  // in several writes, one behind the other (as the shell's printf sends it): then each sets all
  // that came so far.
  void write(Request request, std::span<const std::byte> data, const Transfer& transfer) override;
  [[nodiscard]] bool has_locks() const override { return true; }

 private:
  Folder& folder_;
  std::string snapshot_;
  std::string written_;  // of a value of several lines
  std::uint64_t write_end_ = 0;
};

}  // namespace flowfs::fs
