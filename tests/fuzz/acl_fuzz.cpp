// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as system.posix_acl_access: refused with EINVAL or EOPNOTSUPP, or a list that reads
// back as itself and stays in step with the mode.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "fs/acl.hpp"

namespace {

using flowfs::fs::Acl;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// chmod, and the list afterwards says the same mode.
void check_chmod(const Acl& acl, mode_t mode) {
  Acl changed = acl;
  flowfs::fs::chmod_acl(changed, mode);
  require(changed.size() == acl.size());
  Acl applied = changed;
  require(flowfs::fs::apply_acl(applied, 0) == mode);
}

void check_list(const Acl& acl) {
  const std::vector<std::byte> formatted = flowfs::fs::format_acl(acl);
  const auto again = flowfs::fs::parse_acl(formatted);
  require(again.has_value() && flowfs::fs::format_acl(*again) == formatted);

  Acl applied = acl;
  const mode_t mode = flowfs::fs::apply_acl(applied, 07654);
  require((mode & ~mode_t{0777}) == 07000);
  require(applied.empty() || applied.size() == acl.size());
  if (!acl.empty()) {
    check_chmod(acl, 0);
    check_chmod(acl, 0421);
    check_chmod(acl, 0777);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto acl = flowfs::fs::parse_acl(std::as_bytes(std::span(data, size)));
  if (acl) {
    check_list(*acl);
  } else {
    require(acl.error().error == EINVAL || acl.error().error == EOPNOTSUPP);
  }
  return 0;
}
