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

  // Offset 0 takes the snapshot; later offsets continue it.
  void read(Request request, std::size_t size, const Transfer& transfer) override;
  // EINVAL at any offset but 0 (O_APPEND: offsets mean nothing), and for values that do not parse.
  void write(Request request, std::span<const std::byte> data, const Transfer& transfer) override;
  [[nodiscard]] bool has_locks() const override { return true; }

 private:
  Folder& folder_;
  std::string snapshot_;
};

}  // namespace flowfs::fs
