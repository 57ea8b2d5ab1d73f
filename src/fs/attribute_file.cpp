// SPDX-License-Identifier: BSD-3-Clause
#include "fs/attribute_file.hpp"

#include <fcntl.h>
#include <string.h>

#include <algorithm>

namespace flowfs::fs {
namespace {

// A key may have been in it.
void wipe(std::string& text) {
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

}  // namespace

AttributeFile::~AttributeFile() { wipe(written_); }

void AttributeFile::read(Request request, std::size_t size, const Transfer& transfer) {
  if (transfer.offset == 0) {
    auto value = folder_.exists(node()) ? folder_.value(node(), request.uid()) : fail(ESTALE);
    if (!value) {
      replies_.error(request, value.error().error);
      return;
    }
    snapshot_ = std::move(*value);
  }
  const std::size_t begin = std::min<std::size_t>(transfer.offset, snapshot_.size());
  fuse_reply_buf(request.raw, snapshot_.data() + begin, std::min(size, snapshot_.size() - begin));
  if (folder_.is_secret(node())) {
    wipe(snapshot_);
  }
}

void AttributeFile::write(Request request, std::span<const std::byte> data,
                          const Transfer& transfer) {
  if (!folder_.exists(node())) {
    replies_.error(request, ESTALE);
    return;
  }
  const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
  const bool goes_on = transfer.offset != 0 && transfer.offset == write_end_ &&
                       (transfer.flags & O_APPEND) == 0 && folder_.has_lines(node());
  if (!goes_on) {
    wipe(written_);
  }
  write_end_ = transfer.offset + data.size();
  const std::size_t longest = folder_.longest_value(node());
  if (written_.size() + text.size() > longest) {
    replies_.error(request, EINVAL);
    return;
  }
  written_.reserve(longest);  // at once: to grow would leave copies behind
  written_ += text;
  const Status status = folder_.set_value(node(), written_, request.uid());
  if (!status) {
    replies_.error(request, status.error().error);
    return;
  }
  fuse_reply_write(request.raw, data.size());
}

}  // namespace flowfs::fs
