// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as what a client writes to the attribute `vlan`: refused with EINVAL or ERANGE, or
// VLANs whose text reads back as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "bus/vlan.hpp"

namespace {

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using flowfs::bus::PortVlans;
  const auto parsed = PortVlans::parse({reinterpret_cast<const char*>(data), size});
  if (!parsed) {
    require(parsed.error().error == EINVAL || parsed.error().error == ERANGE);
    return 0;
  }
  const std::string text = parsed->text();
  const auto again = PortVlans::parse(text);
  require(again.has_value() && *again == *parsed && again->text() == text);
  return 0;
}
