// SPDX-License-Identifier: BSD-3-Clause
#include "auth/known_chains.hpp"

#include <utility>
#include <vector>

#include "auth/byte_writer.hpp"
#include "auth/hkdf.hpp"

namespace flowfs::auth {
namespace {

// What a verdict depends on; empty where that cannot be told.
Bytes key_of(std::span<const Bytes> chain, const Trust& trust, std::string_view name,
             Purpose purpose) {
  if (trust.mark().empty()) {
    return {};
  }
  Bytes what;
  append_counted(what, trust.mark(), 4);
  append_number(what, std::to_underlying(purpose), 1);
  append_counted(what, std::as_bytes(std::span(name)), 4);
  for (const Bytes& certificate : chain) {
    append_counted(what, certificate, 4);
  }
  return hash(Digest::sha256, {what}).value_or(Bytes{});
}

std::expected<Certificate, Verdict> check_anew(std::span<const Bytes> chain, const Trust& trust,
                                               std::string_view name, Purpose purpose,
                                               std::time_t at, Period& lasts) {
  std::vector<Certificate> parsed;
  for (const Bytes& der : chain) {
    auto certificate = Certificate::from_der(der);
    if (!certificate) {
      return std::unexpected(Verdict::malformed);
    }
    parsed.push_back(std::move(*certificate));
  }
  const Verdict verdict = verify_chain(parsed, trust, name, purpose, at, &lasts);
  if (verdict != Verdict::ok) {
    return std::unexpected(verdict);
  }
  return std::move(parsed.front());
}

}  // namespace

std::expected<Certificate, Verdict> KnownChains::check(std::span<const Bytes> chain,
                                                       const Trust& trust, std::string_view name,
                                                       Purpose purpose, std::time_t at) {
  const Bytes key = key_of(chain, trust, name, purpose);
  const auto found = known_.find(key);
  if (found != known_.end() && found->second.lasts.has(at)) {
    return found->second.leaf.share();
  }
  Period lasts;
  auto leaf = check_anew(chain, trust, name, purpose, at, lasts);
  if (!leaf || key.empty()) {
    return leaf;
  }
  if (known_.size() >= most_) {
    known_.clear();
  }
  known_.insert_or_assign(key, Known{.leaf = leaf->share(), .lasts = lasts});
  return leaf;
}

}  // namespace flowfs::auth
