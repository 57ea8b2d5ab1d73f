// SPDX-License-Identifier: BSD-3-Clause
// Gathers the facts for doctor_report.hpp. Nothing here may hang on a mount that does not answer:
// what touches it runs in a child of its own, which is left behind if it gets stuck.
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "base/clock.hpp"
#include "cli/commands.hpp"
#include "cli/doctor_report.hpp"
#include "cli/key_value.hpp"
#include "cli/mount.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

constexpr int kPatienceMs = 2000;

struct Probe {
  MountHealth health = MountHealth::hanging;
  int error = 0;
  std::string text;
};

// In the child: the errno (0: none) as four bytes, then the text. No C++ object may throw here.
[[noreturn]] void read_version(const std::string& path, int pipe) {
  std::array<char, 4096> text{};
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t bytes = fd < 0 ? -1 : read(fd, text.data(), text.size());
  const int error = bytes < 0 ? errno : 0;
  if (write(pipe, &error, sizeof error) == sizeof error && bytes > 0) {
    static_cast<void>(!write(pipe, text.data(), static_cast<std::size_t>(bytes)));
  }
  _exit(0);
}

// What came through the pipe until its end; nullopt when that took too long.
std::optional<std::string> read_until_end(int pipe) {
  std::string text;
  const Instant deadline = Clock::now() + std::chrono::milliseconds(kPatienceMs);
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd poll{.fd = pipe, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(std::max<long>(left, 0)));
    if (ready == 0) {
      return std::nullopt;
    }
    std::array<char, 4096> part{};
    const ssize_t bytes = ready < 0 ? -1 : read(pipe, part.data(), part.size());
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes <= 0) {
      return text;
    }
    text.append(part.data(), static_cast<std::size_t>(bytes));
  }
}

Probe probe(const std::string& path) {
  std::array<int, 2> pipe{};
  if (pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return {.health = MountHealth::refusing, .error = errno, .text = {}};
  }
  const Fd reading(pipe[0]);
  Fd writing(pipe[1]);
  const pid_t child = fork();
  if (child == 0) {
    read_version(path, writing.get());
  }
  writing.reset();
  const std::optional<std::string> answer =
      child < 0 ? std::string{} : read_until_end(reading.get());
  if (!answer) {
    // It may be beyond SIGKILL until the daemon answers; then init reaps it after us.
    kill(child, SIGKILL);
    return {};
  }
  if (child > 0) {
    waitpid(child, nullptr, 0);
  }
  int error = EIO;
  if (answer->size() >= sizeof error) {
    std::copy_n(answer->data(), sizeof error, reinterpret_cast<char*>(&error));
  }
  if (error == 0) {
    return {.health = MountHealth::serving, .error = 0, .text = answer->substr(sizeof error)};
  }
  const bool dead = error == ENOTCONN || error == ECONNABORTED;
  return {.health = dead ? MountHealth::dead : MountHealth::refusing, .error = error, .text = {}};
}

void look_at_mount(Facts& facts) {
  const auto mount = mounted_at(current_mounts(), facts.mount);
  if (!mount) {
    return;
  }
  facts.mount_type = mount->type;
  if (!is_flowfs(*mount)) {
    facts.health = MountHealth::foreign;
    return;
  }
  const Probe found = probe(facts.mount + "/version");
  facts.health = found.health;
  facts.health_error = found.error;
  facts.version = KeyValues::parse_lines(found.text);
}

// The number behind `key` in a file of procfs: in base 16 for sets of capabilities.
std::optional<std::uint64_t> field(const std::string& path, std::string_view key, std::size_t word,
                                   int base) {
  const Result<std::string> text = read_file(path);
  if (!text) {
    return std::nullopt;
  }
  const std::size_t at = text->find(fmt::format("\n{}", key));
  if (at == std::string::npos) {
    return std::nullopt;
  }
  const std::string_view rest = std::string_view(*text).substr(at + 1 + key.size());
  const KeyValues line = KeyValues::parse_words(rest.substr(0, rest.find('\n')));
  if (word >= line.entries().size()) {
    return std::nullopt;
  }
  const std::string& value = line.entries()[word].first;
  if (value == "unlimited") {
    return UINT64_MAX;
  }
  char* end = nullptr;
  const std::uint64_t number = std::strtoull(value.c_str(), &end, base);
  return end != value.c_str() && *end == '\0' ? std::optional(number) : std::nullopt;
}

// By its name and its command line, which must name the mount where it names any.
bool seems_to_serve(const std::string& process, const std::string& mount) {
  const Result<std::string> comm = read_file(process + "/comm");
  if (!comm || trim(*comm) != "flowfsd") {
    return false;
  }
  const Result<std::string> command = read_file(process + "/cmdline");
  if (!command) {
    return true;
  }
  const bool named = command->find("--mount") != std::string::npos;
  return !named || command->find(mount + std::string(1, '\0')) != std::string::npos;
}

// The daemon writes its pid into the lock beside the mount, which only its own user may read; the
// kernel tells nobody who serves a FUSE mount.
std::optional<std::string> daemon_pid(const std::string& mount) {
  if (const Result<std::string> lock = read_file(mount + ".lock")) {
    std::string pid = lock->substr(0, lock->find('\n'));
    if (parse_number(pid)) {
      return pid;
    }
  }
  for (const std::string& entry : list_folder("/proc").value_or(std::vector<std::string>{})) {
    if (parse_number(entry) && seems_to_serve("/proc/" + entry, mount)) {
      return entry;
    }
  }
  return std::nullopt;
}

std::optional<DaemonProcess> find_daemon(const std::string& mount) {
  const std::optional<std::string> pid = daemon_pid(mount);
  if (!pid) {
    return std::nullopt;
  }
  const std::string process = "/proc/" + *pid;
  const auto uid = field(process + "/status", "Uid:", 1, 10);
  if (!uid) {
    return std::nullopt;
  }
  return DaemonProcess{
      .pid = static_cast<pid_t>(parse_number(*pid).value_or(0)),
      .uid = static_cast<uid_t>(*uid),
      .capabilities = field(process + "/status", "CapEff:", 0, 16).value_or(0),
      .descriptors = field(process + "/limits", "Max open files", 0, 10).value_or(0)};
}

std::optional<std::uint64_t> sysctl(std::string_view name) {
  const Result<std::string> text = read_file(fmt::format("/proc/sys/{}", name));
  return text ? parse_number(trim(*text)) : std::nullopt;
}

bool fuse_conf_allows() {
  const Result<std::string> text = read_file("/etc/fuse.conf");
  return text && KeyValues::parse_lines(*text).find("user_allow_other").has_value();
}

bool in_path(std::string_view program) {
  const char* const path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    if (access(fmt::format("{}/{}", rest.substr(0, end), program).c_str(), X_OK) == 0) {
      return true;
    }
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return false;
}

void look_at_group(Facts& facts) {
  const group* const entry = getgrnam("flowfs");
  if (entry == nullptr) {
    return;
  }
  facts.flowfs_group = true;
  facts.in_flowfs_group = group_member(entry->gr_gid) != 0;
}

Facts gather(const Common& common) {
  Facts facts;
  utsname system{};
  uname(&system);
  facts.kernel_release = std::string(&system.release[0]);
  facts.mount = common.mount;
  facts.built_libfuse = FLOWFS_LIBFUSE_VERSION;
  facts.built_liburing = FLOWFS_LIBURING_VERSION;
  facts.caller = geteuid();
  look_at_mount(facts);
  if (facts.health == MountHealth::serving) {
    facts.daemon = find_daemon(common.mount);
  }
  facts.fuse_device = access("/dev/fuse", F_OK) == 0;
  facts.fuse_device_writable = access("/dev/fuse", R_OK | W_OK) == 0;
  facts.io_uring_disabled = sysctl("kernel/io_uring_disabled");
  facts.max_pages_limit = sysctl("fs/fuse/max_pages_limit");
  facts.default_timeout_s = sysctl("fs/fuse/default_request_timeout");
  facts.max_timeout_s = sysctl("fs/fuse/max_request_timeout");
  facts.user_allow_other = fuse_conf_allows();
  facts.fusermount3 = in_path("fusermount3");
  look_at_group(facts);
  return facts;
}

}  // namespace

int run_doctor(const Common& common) {
  const std::vector<Finding> findings = examine(gather(common));
  if (common.json) {
    print_json(as_json(findings));
  } else {
    print_text(render(findings, terminal_width(STDOUT_FILENO)));
  }
  return is_well(findings) ? kDone : kFailed;
}

}  // namespace flowfs::cli
