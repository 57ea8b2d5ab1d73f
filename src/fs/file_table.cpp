// SPDX-License-Identifier: BSD-3-Clause
#include "fs/file_table.hpp"

namespace flowfs::fs {
namespace {

std::uint32_t open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::attribute:
      return FOPEN_DIRECT_IO;
    case OpenMode::stream:
      return FOPEN_DIRECT_IO | FOPEN_STREAM | FOPEN_NOFLUSH;
    case OpenMode::message:
      break;
  }
  return FOPEN_DIRECT_IO | FOPEN_STREAM | FOPEN_NOFLUSH | kOpenParallelDirectWrites;
}

}  // namespace

// fuse_reply_open cannot say FOPEN_STREAM, so the answer is written as the protocol has it.
bool reply_open(Request request, File* file, OpenMode mode) {
  fuse_open_out out{};
  out.fh = FileTable::handle(file);
  out.open_flags = open_flags(mode);
  return fuse_reply_buf(request.raw, reinterpret_cast<const char*>(&out), sizeof out) == 0;
}

bool reply_open_mapped(Request request, File* file, int backing, bool flushed) {
  fuse_file_info info{};
  info.fh = FileTable::handle(file);
  info.direct_io = 1;
  info.backing_id = backing;
  info.noflush = flushed ? 0 : 1;
  return fuse_reply_open(request.raw, &info) == 0;
}

}  // namespace flowfs::fs
