// SPDX-License-Identifier: BSD-3-Clause
// Any text as enc.toml: refused with problems that can be shown, or a policy that can be offered as
// it stands.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "auth/header.hpp"
#include "auth/policy_file.hpp"

namespace {

using flowfs::auth::Policy;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

template <typename Code>
void check_list(const std::vector<Code>& codes) {
  require(!codes.empty() && codes.size() <= flowfs::auth::kMostAlgorithms);
  for (const Code code : codes) {
    require(flowfs::auth::find(code) != nullptr && std::ranges::count(codes, code) == 1);
  }
}

void check_policy(const Policy& policy) {
  check_list(policy.key_exchanges);
  check_list(policy.ciphers);
  check_list(policy.kdfs);
  check_list(policy.digests);
  // What one side offers, it can agree on with itself.
  for (const bool server_key : {false, true}) {
    if (const auto offer = flowfs::auth::offer_of(policy, server_key)) {
      const auto choice = flowfs::auth::negotiate(*offer, *offer);
      require(choice && (choice->encrypted() || offer->encrypt == flowfs::auth::Encrypt::off));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto policy = flowfs::auth::parse_policy(text);
  if (policy) {
    check_policy(*policy);
    return 0;
  }
  require(!policy.error().empty());
  std::size_t line = 1;
  for (const auto& problem : policy.error()) {
    require(problem.line >= line && !problem.text.empty());
    line = problem.line;
  }
  return 0;
}
