// SPDX-License-Identifier: BSD-3-Clause
// An open directory: what it held when it was opened or rewound.
#pragma once

#include <utility>
#include <vector>

#include "fs/file.hpp"
#include "fs/folder.hpp"

namespace flowfs::fs {

class DirectoryFile : public File {
 public:
  using File::File;

  void take_snapshot(std::vector<Child> children) { children_ = std::move(children); }
  [[nodiscard]] const std::vector<Child>& children() const { return children_; }

 private:
  std::vector<Child> children_;
};

}  // namespace flowfs::fs
