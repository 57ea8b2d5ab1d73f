// SPDX-License-Identifier: BSD-3-Clause
#include "fs/name_security.hpp"

#include <algorithm>
#include <utility>

#include "auth/guarded_folder.hpp"

namespace flowfs::fs {
namespace {

using auth::Trust;
using SharedTrust = std::shared_ptr<const Trust>;

constexpr std::string_view kDefault = "default";
constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Whether the last block of it has begun and not ended.
bool goes_on(std::string_view text) {
  const std::size_t begin = text.rfind(kBegin);
  if (begin == std::string_view::npos) {
    return false;
  }
  const std::size_t end = text.find(kEnd, begin);
  return end == std::string_view::npos ||
         text.find(kDashes, end + kEnd.size()) == std::string_view::npos;
}

// What the writer of a text is told.
std::unexpected<Failure> as_written(Failure failure) {
  const bool no_pem = failure.error == EBADMSG || failure.error == ENOKEY;
  return fail(no_pem ? EINVAL : failure.error, failure.context);
}

Result<SharedTrust> trust_of(Status (Trust::*add)(std::string_view), std::string_view pem) {
  auto trust = std::make_shared<Trust>();
  if (const Status added = (trust.get()->*add)(pem); !added) {
    return as_written(added.error());
  }
  return trust;
}

// Whether it is what belongs there, and whom it is to make believed.
Result<SharedTrust> check(NameSecurity::Part part, std::string_view text) {
  if (text.empty()) {
    return nullptr;
  }
  switch (part) {
    case NameSecurity::Part::certificate: {
      const auto parsed = auth::parse_certificates(text);
      return parsed ? Result<SharedTrust>() : as_written(parsed.error());
    }
    case NameSecurity::Part::key: {
      const auto parsed = auth::PrivateKey::parse(text);
      return parsed ? Result<SharedTrust>() : as_written(parsed.error());
    }
    case NameSecurity::Part::ca:
      return trust_of(&Trust::add_authorities, text);
    case NameSecurity::Part::crl:
      break;
  }
  return trust_of(&Trust::add_revocations, text);
}

template <typename Value>
Status set_word(std::optional<Value>& value, std::string_view text,
                std::optional<Value> (*parse)(std::string_view)) {
  if (text == kDefault) {
    value.reset();
    return {};
  }
  const std::optional<Value> parsed = parse(text);
  if (!parsed) {
    return fail(EINVAL, "policy");
  }
  value = parsed;
  return {};
}

template <typename Value>
std::string word(const std::optional<Value>& value) {
  return std::string(value ? to_string(*value) : kDefault) + "\n";
}

// The authorities given, else those of the folder; whoever is revoked by either is revoked.
Result<SharedTrust> join(const GivenSecurity& given, const Result<SharedTrust>& folder) {
  if (!folder && folder.error().error != ENOKEY) {
    return std::unexpected(folder.error());
  }
  if (!given.authorities && !given.revocations) {
    return folder ? *folder : nullptr;
  }
  auto trust = std::make_shared<Trust>();
  Status added;
  if (folder) {
    added =
        trust->add(**folder, given.authorities ? Trust::Share::no_authorities : Trust::Share::all);
  }
  for (const SharedTrust& part : {given.authorities, given.revocations}) {
    if (added && part) {
      added = trust->add(*part, Trust::Share::all);
    }
  }
  if (!added) {
    return std::unexpected(added.error());
  }
  return trust;
}

void override_policy(auth::Policy& policy, const GivenSecurity& given) {
  policy.authenticate = given.authenticate.value_or(policy.authenticate);
  policy.encrypt = given.encrypt.value_or(policy.encrypt);
}

}  // namespace

Result<FlowSecurity> security_of(auth::SecurityFolder& folder, std::string_view name,
                                 const GivenSecurity& given, Instant now) {
  if (given.half) {
    return fail(EKEYREJECTED, "certificate and key do not belong together");
  }
  auto server = folder.of(auth::Side::server, name, now);
  auto client = folder.of(auth::Side::client, name, now);
  if (!server || !client) {
    return std::unexpected(server ? client.error() : server.error());
  }
  const auto trust = join(given, folder.trust(now));
  if (!trust) {
    return std::unexpected(trust.error());
  }
  FlowSecurity result;
  result.server = {.policy = server->policy.value_or(auth::Policy{}),
                   .credential = given.credential ? given.credential : server->credential,
                   .trust = *trust,
                   .server_key = server->server_key};
  override_policy(result.server.policy, given);
  result.client = {.policy = client->policy.value_or(result.server.policy),
                   .credential = client->credential,
                   .trust = *trust,
                   .server_key = client->server_key};
  override_policy(result.client.policy, given);
  return result;
}

Status NameSecurity::set_authenticate(std::string_view text) {
  return set_word(given_.authenticate, text, auth::parse_authenticate);
}

Status NameSecurity::set_encrypt(std::string_view text) {
  return set_word(given_.encrypt, text, auth::parse_encrypt);
}

std::string NameSecurity::authenticate() const { return word(given_.authenticate); }

std::string NameSecurity::encrypt() const { return word(given_.encrypt); }

std::string_view NameSecurity::view(Part part) const {
  return auth::text_of(texts_[std::to_underlying(part)].bytes);
}

Status NameSecurity::set_text(Part part, std::string_view text) {
  if (goes_on(text)) {
    return {};
  }
  if (is_blank(text)) {
    text = {};
  }
  Result<SharedTrust> trust = check(part, text);
  if (!trust) {
    return std::unexpected(trust.error());
  }
  auto charge = users_.charge(owner_, registry::Resource::bytes, text.size());
  if (!charge) {
    return std::unexpected(charge.error());
  }
  Text& place = texts_[std::to_underlying(part)];
  place = {.bytes = auth::Secret(text.size()), .charge = std::move(*charge)};
  std::ranges::copy(std::as_bytes(std::span(text)), place.bytes.writable().begin());
  if (part == Part::ca) {
    given_.authorities = std::move(*trust);
  } else if (part == Part::crl) {
    given_.revocations = std::move(*trust);
  } else {
    combine();
  }
  return {};
}

void NameSecurity::combine() {
  const std::string_view certificate = view(Part::certificate);
  const std::string_view key = view(Part::key);
  given_.credential = nullptr;
  given_.half = false;
  if (certificate.empty() && key.empty()) {
    return;
  }
  auto credential = auth::Credential::parse(certificate, key);
  given_.half = !credential;
  if (credential) {
    given_.credential = std::make_shared<const auth::Credential>(std::move(*credential));
  }
}

Result<std::string> NameSecurity::text(Part part) const {
  if (part == Part::key) {
    return fail(EACCES, "a key is never read back");
  }
  return std::string(view(part));
}

}  // namespace flowfs::fs
