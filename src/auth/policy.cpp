// SPDX-License-Identifier: BSD-3-Clause
#include "auth/policy.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace flowfs::auth {
namespace {

constexpr std::array<std::string_view, 4> kAuthenticate{"none", "server", "client", "mutual"};
constexpr std::array<std::string_view, 3> kEncrypt{"off", "allow", "require"};

template <typename Value, std::size_t size>
std::optional<Value> parse(const std::array<std::string_view, size>& words, std::string_view text) {
  const auto* const found = std::ranges::find(words, text);
  return found == words.end() ? std::nullopt
                              : std::optional(static_cast<Value>(found - words.begin()));
}

bool requires_encryption(const Policy& policy) {
  return policy.encrypt == Encrypt::require || policy.require_pq;
}

// The first of `servers` that the client has as well, and that is known here; none otherwise.
template <typename Code>
Code first_common(const std::vector<Code>& servers, const std::vector<Code>& clients) {
  const auto found = std::ranges::find_if(servers, [&](Code code) {
    return find(code) != nullptr && std::ranges::find(clients, code) != clients.end();
  });
  return found == servers.end() ? Code::none : *found;
}

std::expected<Choice, Refusal> choose(const Policy& client, const Policy& server) {
  const bool require_pq = client.require_pq || server.require_pq;
  std::vector<KeyExchange> allowed = server.key_exchanges;
  if (require_pq) {
    std::erase_if(allowed, [](KeyExchange code) {
      const auto* const info = find(code);
      return info == nullptr || !info->post_quantum;
    });
  }
  const Choice choice{.key_exchange = first_common(allowed, client.key_exchanges),
                      .cipher = first_common(server.ciphers, client.ciphers),
                      .kdf = first_common(server.kdfs, client.kdfs),
                      .digest = first_common(server.digests, client.digests)};
  if (choice.key_exchange == KeyExchange::none) {
    return std::unexpected(require_pq ? Refusal::no_post_quantum : Refusal::no_common_key_exchange);
  }
  if (choice.cipher == Cipher::none) {
    return std::unexpected(Refusal::no_common_cipher);
  }
  if (choice.kdf == Kdf::none) {
    return std::unexpected(Refusal::no_common_kdf);
  }
  if (choice.digest == Digest::none) {
    return std::unexpected(Refusal::no_common_digest);
  }
  return choice;
}

}  // namespace

std::string_view to_string(Authenticate what) {
  return kAuthenticate.at(static_cast<std::size_t>(what));
}
std::string_view to_string(Encrypt what) { return kEncrypt.at(static_cast<std::size_t>(what)); }

std::optional<Authenticate> parse_authenticate(std::string_view text) {
  return parse<Authenticate>(kAuthenticate, text);
}
std::optional<Encrypt> parse_encrypt(std::string_view text) {
  return parse<Encrypt>(kEncrypt, text);
}

std::expected<Policy, Refusal> offer_of(const Policy& policy, bool server_key) {
  Policy offer = policy;
  std::erase_if(offer.key_exchanges, [&](KeyExchange code) {
    return !available(code) || (policy.require_pq && !find(code)->post_quantum) ||
           (find(code)->server_key && !server_key);
  });
  if (offer.key_exchanges.empty() && requires_encryption(policy)) {
    return std::unexpected(policy.require_pq ? Refusal::no_post_quantum
                                             : Refusal::no_common_key_exchange);
  }
  if (policy.require_pq) {
    offer.encrypt = Encrypt::require;
  }
  if (offer.encrypt == Encrypt::off || offer.key_exchanges.empty()) {
    offer.encrypt = Encrypt::off;
    offer.key_exchanges.clear();
    offer.ciphers.clear();
    offer.kdfs.clear();
    offer.digests.clear();
  }
  return offer;
}

std::expected<Choice, Refusal> negotiate(const Policy& client, const Policy& server) {
  const bool required = requires_encryption(client) || requires_encryption(server);
  if (client.encrypt == Encrypt::off || server.encrypt == Encrypt::off) {
    return required ? std::expected<Choice, Refusal>(std::unexpected(Refusal::encryption_required))
                    : Choice{};
  }
  auto choice = choose(client, server);
  return choice || required ? choice : Choice{};
}

}  // namespace flowfs::auth
