// SPDX-License-Identifier: BSD-3-Clause
// pools/: the pool of everybody in the group, and one of each user who has looked for it.
#pragma once

#include "fs/ends.hpp"
#include "fs/file_table.hpp"
#include "fs/folder.hpp"
#include "fs/pool_filler.hpp"
#include "fs/pools.hpp"

namespace flowfs::fs {

class PoolsFolder : public Folder {
 public:
  PoolsFolder(Pools& pools, PoolFiller& filler, Ends& ends, FileTable& files, Replies& replies)
      : pools_(pools),
        filler_(filler),
        ends_(ends),
        files_(files),
        replies_(replies),
        mounted_(wall_clock_now()) {}

  [[nodiscard]] bool exists(Node node) const override;
  [[nodiscard]] FileType type(Node node) const override;
  [[nodiscard]] Meta defaults(Node node) const override;
  [[nodiscard]] Node lasting(Node node) const override;
  [[nodiscard]] std::uint64_t mapped_size(Node node) const override;
  void prepare(Node directory, std::string_view name, uid_t by) override;
  [[nodiscard]] std::optional<Node> child(Node directory, std::string_view name) override;
  [[nodiscard]] std::optional<Entry> child_from(Node directory, std::uint64_t cookie) override;
  Result<std::string> value(Node file, uid_t by) override;
  void open(Request request, Node node, int flags) override;
  Result<int> memory(Node file, bool writable, uid_t by) override;

 private:
  [[nodiscard]] const Pool& pool_of(Node node) const;

  Pools& pools_;
  PoolFiller& filler_;
  Ends& ends_;
  FileTable& files_;
  Replies& replies_;
  timespec mounted_;
};

}  // namespace flowfs::fs
