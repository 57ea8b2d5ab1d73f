// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "cli/commands.hpp"
#include "cli/event_line.hpp"

namespace flowfs::cli {
namespace {

void show(const Common& common, const EventLine& event) {
  if (common.json) {
    print_json(as_json(event));
  } else {
    print_text(readable(event) + "\n");
  }
}

}  // namespace

int run_watch(const Common& common, const WatchOptions& options) {
  return follow_events(common, common.path("events"), options);
}

int follow_events(const Common& common, const std::string& path, const WatchOptions& options) {
  const Result<Fd> events = open_file(path, O_RDONLY);
  if (!events) {
    return failed(Deed::read_tree, path, events.error().error);
  }
  const EventFilter filter{.kinds = options.kinds, .object_glob = options.object_glob};
  std::uint64_t shown = 0;
  std::string pending;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t bytes = read(events->get(), buffer.data(), buffer.size());
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes == 0 && options.ends) {
      return kDone;
    }
    if (bytes <= 0) {
      return failed(Deed::read_tree, path, bytes == 0 ? ENOTCONN : errno);
    }
    pending.append(buffer.data(), static_cast<std::size_t>(bytes));
    for (const std::string& line : take_lines(pending)) {
      const auto event = parse_event(line);
      if (!event) {
        complain(fmt::format("{}: not an event: {}", path, line));
        return kFailed;
      }
      if (!matches(filter, *event)) {
        continue;
      }
      show(common, *event);
      if (++shown == options.count) {
        return kDone;
      }
    }
  }
}

}  // namespace flowfs::cli
