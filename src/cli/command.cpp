// SPDX-License-Identifier: BSD-3-Clause
#include "cli/command.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "cli/key_value.hpp"

namespace flowfs::cli {

void complain(std::string_view text) { fmt::print(stderr, "flowctl: {}\n", text); }

int failed(Deed deed, std::string_view object, int error) {
  complain(explain(deed, object, error));
  return kFailed;
}

void print_text(std::string_view text) {
  fmt::print("{}", text);
  std::fflush(stdout);
}

void print_json(const nlohmann::ordered_json& value) {
  // What a peer put into a name or a value need not be UTF-8.
  print_text(value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

Result<Fd> open_file(const std::string& path, int flags, const std::function<bool()>& stop) {
  for (;;) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC);
    if (fd >= 0) {
      return Fd(fd);
    }
    if (errno != EINTR || (stop && stop())) {
      return fail_errno("open");
    }
  }
}

Result<std::string> read_attribute(const std::string& path) {
  for (;;) {
    Result<std::string> text = read_file(path);
    if (text || text.error().error != EINTR) {
      return text;
    }
  }
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
  if (!folder) {
    return fail_errno("opendir");
  }
  std::vector<std::string> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(folder.get());
    if (entry == nullptr) {
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      entries.emplace_back(name);
    }
  }
  if (errno != 0) {
    return fail_errno("readdir");
  }
  std::ranges::sort(entries, {}, [](const std::string& name) {
    return std::pair(parse_number(name).value_or(UINT64_MAX), name);
  });
  return entries;
}

std::string user_name(uid_t uid) {
  const passwd* const entry = getpwuid(uid);
  return entry == nullptr ? fmt::format("{}", uid) : std::string(entry->pw_name);
}

Micros micros_of(double seconds) { return Micros(std::llround(seconds * 1e6)); }

bool is_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-";
  return !name.empty() && name.front() != '.' && name.size() <= 255 &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

bool check_name(std::string_view name) {
  if (is_name(name)) {
    return true;
  }
  complain(
      fmt::format("`{}` is not a name: it has letters, digits and . _ : @ - only, at most 255, "
                  "and does not begin with a dot",
                  name));
  return false;
}

}  // namespace flowfs::cli
