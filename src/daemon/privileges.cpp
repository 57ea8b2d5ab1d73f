// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/privileges.hpp"

#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <span>

namespace flowfs::daemon {
namespace {

constexpr std::array<cap_value_t, 3> kKept{CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW};
// Not in effect but for the steps that ask for it.
constexpr std::array<cap_value_t, 1> kInReserve{CAP_DAC_OVERRIDE};

struct FreeCaps {
  void operator()(cap_t caps) const { cap_free(caps); }
};
using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCaps>;

// So that not even an exec gets one back. Needs CAP_SETPCAP, hence comes first; a root without it
// (in a container) relies on no_new_privs for the same.
Status shrink_bounding_set() {
  for (cap_value_t cap = 0; CAP_IS_SUPPORTED(cap); ++cap) {
    if (std::ranges::find(kKept, cap) == kKept.end() && cap_drop_bound(cap) != 0 &&
        errno != EPERM) {
      return fail_errno("cannot shrink the capability bounding set");
    }
  }
  return {};
}

// `now`: what is held, `caps`: what will be. What is not held stays so.
bool keep(const Caps& now, const Caps& caps, std::span<const cap_value_t> kept,
          std::span<const cap_flag_t> sets) {
  for (const cap_value_t cap : kept) {
    cap_flag_value_t held = CAP_CLEAR;
    if (cap_get_flag(now.get(), cap, CAP_PERMITTED, &held) != 0) {
      return false;
    }
    for (const cap_flag_t set : sets) {
      if (cap_set_flag(caps.get(), set, 1, &cap, held) != 0) {
        return false;
      }
    }
  }
  return true;
}

Status keep_only(std::span<const cap_value_t> kept, std::span<const cap_value_t> in_reserve) {
  const Caps now(cap_get_proc());
  const Caps caps(cap_init());
  if (!now || !caps) {
    return fail_errno("cannot read capabilities");
  }
  constexpr std::array kSets{CAP_PERMITTED, CAP_EFFECTIVE};
  if (!keep(now, caps, kept, kSets) || !keep(now, caps, in_reserve, std::span(kSets).first<1>())) {
    return fail_errno("cap_set_flag");
  }
  if (cap_reset_ambient() != 0 || cap_set_proc(caps.get()) != 0) {
    return fail_errno("cannot drop capabilities");
  }
  return {};
}

}  // namespace

Status drop_privileges() {
  if (auto shrunk = shrink_bounding_set(); !shrunk) {
    return shrunk;
  }
  if (auto kept = keep_only(kKept, kInReserve); !kept) {
    return kept;
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fail_errno("cannot set no_new_privs");
  }
  return {};
}

Status drop_privileges_rootless() { return keep_only({}, {}); }

Result<std::uint64_t> raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return fail_errno("getrlimit");
  }
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return fail_errno("cannot raise the limit of descriptors");
  }
  return limit.rlim_cur;
}

}  // namespace flowfs::daemon
