// SPDX-License-Identifier: BSD-3-Clause
// A filesystem of a few files that are opened with one combination of flags each, to try what the
// kernel says to it. usage: passthrough_facts DIR. Prints "passthrough yes" or "passthrough no"
// when it is mounted; a signal unmounts it.
#define FUSE_USE_VERSION 317
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

// Of <linux/fuse.h>, from protocol 7.40 (Linux 6.9) on: the last field was padding before.
constexpr std::uint32_t kPassthrough = 1U << 7;
struct OpenAnswer {
  std::uint64_t handle;
  std::uint32_t flags;
  std::int32_t backing;
};

constexpr int kNoBacking = 0;
constexpr off_t kBytes = 4096;
constexpr double kForEver = 3600;

struct Entry {
  const char* name;
  std::uint32_t flags;
  bool new_backing;  // each open registers a memfd of its own
};

// Node ids are places in this table, after the root's.
constexpr std::array kEntries = {
    Entry{"stream", FOPEN_DIRECT_IO | FOPEN_STREAM, false},
    Entry{"passthrough", kPassthrough | FOPEN_DIRECT_IO, false},
    Entry{"passthrough-stream", kPassthrough | FOPEN_DIRECT_IO | FOPEN_STREAM, false},
    Entry{"passthrough-nonseekable", kPassthrough | FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE, false},
    Entry{"passthrough-other", kPassthrough | FOPEN_DIRECT_IO, true},
};

constexpr fuse_ino_t kFirst = FUSE_ROOT_ID + 1;
const Entry& entry_of(fuse_ino_t node) { return kEntries.at(node - kFirst); }

// What one mount has of backings; the registered ones go with it.
struct Backings {
  bool agreed = false;
  std::array<int, kEntries.size()> ids{};  // the one that all opens of a node share

  static int add(fuse_req_t request) {
    const int memory = memfd_create("passthrough-facts", MFD_CLOEXEC);
    const int id = memory >= 0 && ftruncate(memory, kBytes) == 0
                       ? fuse_passthrough_open(request, memory)
                       : kNoBacking;
    if (memory >= 0) {
      close(memory);
    }
    return id;
  }

  int for_open(fuse_req_t request, fuse_ino_t node) {
    const Entry& entry = entry_of(node);
    if ((entry.flags & kPassthrough) == 0) {
      return kNoBacking;
    }
    int& id = ids.at(node - kFirst);
    if (id == kNoBacking || entry.new_backing) {
      id = add(request);
    }
    return id;
  }
};

Backings& backings_of(fuse_req_t request) {
  return *static_cast<Backings*>(fuse_req_userdata(request));
}

struct stat attributes(fuse_ino_t node) {
  struct stat result{};
  result.st_ino = node;
  result.st_nlink = 1;
  result.st_mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0600;
  result.st_size = node == FUSE_ROOT_ID ? 0 : kBytes;
  return result;
}

void on_init(void* userdata, fuse_conn_info* connection) {
  auto& backings = *static_cast<Backings*>(userdata);
  backings.agreed = (connection->capable_ext & FUSE_CAP_PASSTHROUGH) != 0;
  if (backings.agreed) {
    fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH);
    connection->max_backing_stack_depth = 1;
  }
  std::printf("passthrough %s\n", backings.agreed ? "yes" : "no");
  std::fflush(stdout);
}

void on_lookup(fuse_req_t request, fuse_ino_t /*parent*/, const char* name) {
  const auto* const found =
      std::ranges::find_if(kEntries, [&](const Entry& entry) { return !strcmp(entry.name, name); });
  if (found == kEntries.end()) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param answer{};
  answer.ino = kFirst + static_cast<fuse_ino_t>(found - kEntries.begin());
  answer.attr = attributes(answer.ino);
  answer.attr_timeout = kForEver;
  answer.entry_timeout = kForEver;
  fuse_reply_entry(request, &answer);
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
  const struct stat answer = attributes(node);
  fuse_reply_attr(request, &answer, kForEver);
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
  const int backing = backings_of(request).for_open(request, node);
  if (backing == kNoBacking && (entry_of(node).flags & kPassthrough) != 0) {
    fuse_reply_err(request, ENOTSUP);
    return;
  }
  const OpenAnswer answer{.handle = 0, .flags = entry_of(node).flags, .backing = backing};
  std::array<char, sizeof answer> bytes{};
  std::memcpy(bytes.data(), &answer, sizeof answer);
  fuse_reply_buf(request, bytes.data(), bytes.size());
}

int serve(const char* folder) {
  char program[] = "passthrough_facts";
  char* arguments[] = {program, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments);
  fuse_lowlevel_ops operations{};
  operations.init = on_init;
  operations.lookup = on_lookup;
  operations.getattr = on_getattr;
  operations.open = on_open;
  operations.release = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) {
    fuse_reply_err(request, 0);
  };
  Backings backings;
  fuse_session* const session = fuse_session_new(&args, &operations, sizeof operations, &backings);
  fuse_opt_free_args(&args);  // libfuse has made them its own
  if (session == nullptr) {
    return 1;
  }
  int status = 1;
  if (fuse_set_signal_handlers(session) == 0) {
    if (fuse_session_mount(session, folder) == 0) {
      status = fuse_session_loop(session) < 0 ? 1 : 0;
      fuse_session_unmount(session);
    }
    fuse_remove_signal_handlers(session);
  }
  fuse_session_destroy(session);
  return status;
}

}  // namespace

int main(int argc, char** argv) { return argc == 2 ? serve(argv[1]) : 2; }
