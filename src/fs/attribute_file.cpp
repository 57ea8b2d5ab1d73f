// SPDX-License-Identifier: BSD-3-Clause
#include "fs/attribute_file.hpp"

#include <fcntl.h>

#include <algorithm>

namespace flowfs::fs {

void AttributeFile::read(Request request, std::size_t size, const Transfer& transfer) {
  if (transfer.offset == 0) {
    auto value = folder_.exists(node()) ? folder_.value(node()) : fail(ESTALE);
    if (!value) {
      replies_.error(request, value.error().error);
      return;
    }
    snapshot_ = std::move(*value);
  }
  const std::size_t begin = std::min<std::size_t>(transfer.offset, snapshot_.size());
  fuse_reply_buf(request.raw, snapshot_.data() + begin, std::min(size, snapshot_.size() - begin));
}

void AttributeFile::write(Request request, std::span<const std::byte> data,
                          const Transfer& transfer) {
  if (!folder_.exists(node())) {
    replies_.error(request, ESTALE);
    return;
  }
  if (transfer.offset != 0 && (transfer.flags & O_APPEND) == 0) {
    replies_.error(request, EINVAL);
    return;
  }
  const auto* text = reinterpret_cast<const char*>(data.data());
  const Status status = folder_.set_value(node(), {text, data.size()});
  if (!status) {
    replies_.error(request, status.error().error);
    return;
  }
  fuse_reply_write(request.raw, data.size());
}

}  // namespace flowfs::fs
