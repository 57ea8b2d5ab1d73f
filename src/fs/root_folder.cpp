// SPDX-License-Identifier: BSD-3-Clause
#include "fs/root_folder.hpp"

#include <iterator>

namespace flowfs::fs {
namespace {

enum RootFile : std::uint8_t { directory, readme, version, metrics, events };

constexpr FileSpec kFiles[] = {
    {"", FileType::directory, 0755},        {"README", FileType::attribute, 0444},
    {"version", FileType::attribute, 0444}, {"metrics", FileType::attribute, 0444},
    {"events", FileType::stream, 0444},
};

struct SubFolder {
  std::string_view name;
  Kind kind;
};

constexpr SubFolder kFolders[] = {
    {"names", Kind::names}, {"flows", Kind::flows}, {"buses", Kind::buses},
    {"users", Kind::users}, {"pools", Kind::pools},
};

// At most 24 lines of 80 columns: it is read on a terminal.
constexpr std::string_view kReadme =
    "flowfs: interprocess communication as a filesystem.\n"
    "\n"
    "  mkdir names/log                  make a name (rmdir, not rm -r, removes it)\n"
    "  cat names/log/accept &           wait for one flow and print what it sends\n"
    "  echo hi > names/log/dial         dial the name and send one message\n"
    "  exec 3<>names/log/dial           a flow in both directions on descriptor 3\n"
    "  chmod o+rw names/log/dial        let everybody dial (chown, setfacl work too)\n"
    "  echo 0 > names/log/dial_timeout  refuse at once when nobody is accepting\n"
    "  ls flows; cat flows/*/state      your ends of flows\n"
    "  mkdir buses/chat                 make a bus, which many join\n"
    "  cat buses/chat/bus               hear all that the other members write there\n"
    "  cat events                       what happens, a line each, as it happens\n"
    "  cat metrics                      every counter, as Prometheus reads it\n"
    "  cat users/$(id -u)/usage         what is charged to you, limits beside it\n"
    "  ls -l pools/shared               who exchanges blocks of memory with root\n"
    "\n"
    "One write is one message, one read returns at most one. poll, select and epoll\n"
    "work. flowfs(7) is the contract of every file; flowctl(1) is the tool: flowctl\n"
    "status, flowctl doctor, flowctl ping.\n";

}  // namespace

RootFolder::RootFolder(EventLog& events, FileTable& files, Parking& parking, Replies& replies,
                       Texts texts)
    : events_(events),
      files_(files),
      parking_(parking),
      replies_(replies),
      texts_(std::move(texts)),
      mounted_(wall_clock_now()) {}

bool RootFolder::exists(Node node) const { return node.file < std::size(kFiles); }

FileType RootFolder::type(Node node) const { return kFiles[node.file].type; }

Meta RootFolder::defaults(Node node) const {
  return {.mode = kFiles[node.file].mode,
          .acl = {},
          .access = mounted_,
          .modified = mounted_,
          .changed = mounted_};
}

std::optional<Node> RootFolder::child(Node parent, std::string_view name) {
  for (const SubFolder& folder : kFolders) {
    if (folder.name == name) {
      return Node{folder.kind, 0, 0};
    }
  }
  return find_file(kFiles, parent, name);
}

std::optional<Entry> RootFolder::child_from(Node parent, std::uint64_t cookie) {
  constexpr std::uint64_t kPlainFiles = std::size(kFiles) - 1;
  if (cookie < kPlainFiles) {
    return file_from(kFiles, parent, cookie);
  }
  const std::uint64_t index = cookie - kPlainFiles;
  if (index >= std::size(kFolders)) {
    return std::nullopt;
  }
  return Entry{{std::string(kFolders[index].name), Node{kFolders[index].kind, 0, 0}}, cookie + 1};
}

Result<std::string> RootFolder::value(Node file, uid_t by) {
  switch (file.file) {
    case readme:
      return std::string(kReadme);
    case version:
      return texts_.version();
    default:
      return metrics_text(by);
  }
}

// With many names the text takes milliseconds of the only loop. Users may have a twentieth of its
// time for it: in between they read what was made last. Root reads what is true now.
std::string RootFolder::metrics_text(uid_t by) {
  constexpr int kShare = 20;
  const Instant now = Clock::now();
  if (by == 0 || now >= metrics_good_until_) {
    metrics_ = texts_.metrics();
    const Instant made = Clock::now();
    metrics_good_until_ = made + kShare * (made - now);
  }
  return metrics_;
}

void RootFolder::open(Request request, Node node, int flags) {
  auto file = files_.add(std::make_unique<EventFile>(events_, parking_, replies_, node, flags),
                         request.uid());
  if (!file) {
    replies_.error(request, file.error().error);
  } else if (!reply_open(request, *file, OpenMode::stream)) {
    files_.remove(*file);
  }
}

}  // namespace flowfs::fs
