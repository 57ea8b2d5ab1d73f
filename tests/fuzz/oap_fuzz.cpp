// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as an allocation header: refused, or they are the one encoding of what was read. Read
// or not, no responder answers them: it wants a certificate that nobody has.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "auth/handshake.hpp"
#include "auth/header.hpp"

namespace {

using flowfs::auth::Authenticate;
using flowfs::auth::Encrypt;
using flowfs::auth::Party;
using flowfs::auth::Responder;
using flowfs::auth::Time;
using flowfs::auth::View;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void check_encoding(View bytes) {
  const auto parsed = flowfs::auth::decode(bytes);
  if (!parsed) {
    return;
  }
  require(std::ranges::equal(flowfs::auth::encode(parsed->header), bytes));
  require(std::ranges::equal(flowfs::auth::encode_unsigned(parsed->header), parsed->signed_part));
  require(parsed->header.signature.empty() == parsed->header.certificates.empty());
}

void check_answer(View bytes) {
  static const flowfs::auth::Trust trust;
  Party party{.name = "log", .policy = {}, .trust = &trust};
  party.policy.authenticate = Authenticate::client;
  party.policy.encrypt = Encrypt::allow;
  const Time now{.header_ns = 1'700'000'000'000'000'000, .calendar = 1'700'000'000};
  Responder responder({}, Time{});
  require(!responder.answer(bytes, party, 1, now).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const View bytes = std::as_bytes(std::span(data, size));
  check_encoding(bytes);
  check_answer(bytes);
  return 0;
}
