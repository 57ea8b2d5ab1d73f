// SPDX-License-Identifier: BSD-3-Clause
#include "ipn/bus_options.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdint>
#include <string_view>

#include "base/fd.hpp"
#include "flowfs/af_ipn.h"

namespace flowfs::ipn {
namespace {

constexpr int kMostUnit = 4096;
constexpr std::int64_t kMostDepth = std::int64_t{1} << 30;
constexpr int kAllRights = 0777;

Result<std::string> read_line(const std::string& path) {
  Result<std::string> text = read_file(path);
  if (text && text->ends_with('\n')) {
    text->pop_back();
  }
  return text;
}

// What an int cannot hold is as much as it can.
Result<int> read_number(const std::string& path) {
  const Result<std::string> text = read_line(path);
  if (!text) {
    return std::unexpected(text.error());
  }
  std::uint64_t number = UINT64_MAX;  // of `max`
  std::from_chars(text->data(), text->data() + text->size(), number);
  return static_cast<int>(std::min<std::uint64_t>(number, INT_MAX));
}

Status write_mode(const std::string& folder, int mode) {
  const std::string path = folder + "/bus";
  if (chmod(path.c_str(), static_cast<mode_t>(mode & kAllRights)) != 0) {
    return fail_errno("chmod");
  }
  return {};
}

Result<int> read_mode(const std::string& folder) {
  struct stat found{};
  const std::string path = folder + "/bus";
  if (stat(path.c_str(), &found) != 0) {
    return fail_errno("stat");
  }
  return static_cast<int>(found.st_mode & kAllRights);
}

// Without umask(2), which would change it for other threads meanwhile.
mode_t current_umask() {
  constexpr std::string_view kKey = "\nUmask:\t";
  mode_t mask = 022;
  if (const Result<std::string> status = read_file("/proc/self/status")) {
    if (const std::size_t at = status->find(kKey); at != std::string::npos) {
      const char* const digits = status->data() + at + kKey.size();
      std::from_chars(digits, status->data() + status->size(), mask, 8);
    }
  }
  return mask;
}

std::string_view policy_of(int protocol) {
  switch (protocol) {
    case IPN_BROADCAST:
      return "broadcast";
    case IPN_VDESWITCH:
      return "switch";
    default:
      return {};
  }
}

Result<std::int64_t> depth_of_pool(const std::string& folder, int messages) {
  const Result<int> mtu = read_number(folder + "/mtu");
  if (!mtu) {
    return std::unexpected(mtu.error());
  }
  return std::min<std::int64_t>(std::int64_t{messages} * pool_unit(*mtu), kMostDepth);
}

// What is asked for, in the order of the numbers: the mtu comes before the pool that it measures.
Status set_up(const std::string& folder, int protocol, const Options& options) {
  const std::string_view policy = policy_of(protocol);
  Status done = check_protocol(folder, protocol);
  if (!done && done.error().error == EPROTOTYPE) {
    done = write_attribute(folder + "/policy", policy);
    if (!done && done.error().error == EINVAL) {
      return fail(EPROTONOSUPPORT, "a policy that buses do not have");
    }
  }
  for (const auto& [option, value] : options) {
    if (done && option != IPN_SO_MODE) {
      done = write_option(folder, option, value);
    }
  }
  if (!done) {
    return done;
  }
  // Last, as it lets others in.
  const auto mode = options.find(IPN_SO_MODE);
  const int wanted = mode == options.end() ? kAllRights : mode->second;
  return write_mode(folder, wanted & ~static_cast<int>(current_umask()));
}

}  // namespace

Status write_attribute(const std::string& path, std::string_view text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) {
    return fail_errno("open");
  }
  if (write(file.get(), text.data(), text.size()) < 0) {
    return fail_errno("write");
  }
  return {};
}

int pool_unit(int mtu_bytes) { return std::clamp(mtu_bytes, 1, kMostUnit); }

Status check_option(int option, int value) {
  switch (option) {
    case IPN_SO_MTU:
    case IPN_SO_NUMNODES:
    case IPN_SO_MSGPOOLSIZE:
    case IPN_SO_CHANGE_NUMNODES:
      return value > 0 ? Status() : fail(EINVAL, "less than one");
    case IPN_SO_FLAGS:
      return (value & ~IPN_FLAG_LOSSLESS) == 0 ? Status() : fail(EINVAL, "an unknown flag");
    case IPN_SO_MODE:
      return (value & ~kAllRights) == 0 ? Status() : fail(EINVAL, "not a mode");
    default:
      return fail(ENOPROTOOPT, "an option without a file");
  }
}

Status make_bus(const std::string& folder, int protocol, const Options& options) {
  if (policy_of(protocol).empty()) {
    return fail(EPROTONOSUPPORT, "no policy to make a bus with");
  }
  // Not writable for others, so that `bus` is the caller's alone until set_up() has done its work.
  if (mkdir(folder.c_str(), 0755) != 0) {
    return fail_errno("mkdir");
  }
  const Status done = set_up(folder, protocol, options);
  if (!done) {
    rmdir(folder.c_str());
  }
  return done;
}

Status check_protocol(const std::string& folder, int protocol) {
  const Result<std::string> policy = read_line(folder + "/policy");
  if (!policy) {
    // Who may not look at the bus may still join it.
    return protocol == IPN_ANY || policy.error().error == EACCES ? Status()
                                                                 : std::unexpected(policy.error());
  }
  const bool fits = protocol == IPN_ANY || *policy == policy_of(protocol);
  return fits ? Status() : fail(EPROTOTYPE, "the bus has another policy");
}

Result<int> read_option(const std::string& folder, int option) {
  switch (option) {
    case IPN_SO_NUMNODES:
    case IPN_SO_CHANGE_NUMNODES:
      return read_number(folder + "/ports");
    case IPN_SO_MTU:
      return read_number(folder + "/mtu");
    case IPN_SO_MSGPOOLSIZE: {
      const Result<int> mtu = read_number(folder + "/mtu");
      const Result<int> depth = read_number(folder + "/depth");
      return !mtu ? mtu : !depth ? depth : Result<int>(*depth / pool_unit(*mtu));
    }
    case IPN_SO_FLAGS: {
      const Result<std::string> delivery = read_line(folder + "/delivery");
      return !delivery ? Result<int>(std::unexpected(delivery.error()))
                       : Result<int>(*delivery == "lossless" ? IPN_FLAG_LOSSLESS : 0);
    }
    case IPN_SO_MODE:
      return read_mode(folder);
    default:
      return fail(ENOPROTOOPT, "an option without a file");
  }
}

Status write_option(const std::string& folder, int option, int value) {
  switch (option) {
    case IPN_SO_NUMNODES:
    case IPN_SO_CHANGE_NUMNODES:
      return write_attribute(folder + "/ports", std::to_string(value));
    case IPN_SO_MTU:
      return write_attribute(folder + "/mtu", std::to_string(value));
    case IPN_SO_MSGPOOLSIZE: {
      const Result<std::int64_t> depth = depth_of_pool(folder, value);
      return depth ? write_attribute(folder + "/depth", std::to_string(*depth))
                   : std::unexpected(depth.error());
    }
    case IPN_SO_FLAGS:
      return write_attribute(folder + "/delivery",
                             (value & IPN_FLAG_LOSSLESS) != 0 ? "lossless" : "lossy");
    case IPN_SO_MODE:
      return write_mode(folder, value);
    default:
      return fail(ENOPROTOOPT, "an option without a file");
  }
}

}  // namespace flowfs::ipn
