// SPDX-License-Identifier: BSD-3-Clause
// What names/NAME/security holds: the policy of a name and what proves who its servers are.
//
// Threads: the loop's; what given() returns is a copy that a worker may use.
// Owns: the texts, charged to the owner of the name. Those of keys are zeroed when they go.
// Errors: of a text: EINVAL: no PEM of that kind; EFBIG: too long; EKEYREJECTED: a key that is
// encrypted, weak or of a kind that is not accepted; EDQUOT, ENFILE: the owner's limit.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "auth/certificates.hpp"
#include "auth/credentials.hpp"
#include "auth/policy.hpp"
#include "auth/security_folder.hpp"
#include "base/result.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

// What is set for a name in the tree; nullopt and null where nothing is.
struct GivenSecurity {
  std::optional<auth::Authenticate> authenticate;
  std::optional<auth::Encrypt> encrypt;
  std::shared_ptr<const auth::Credential> credential;
  bool half = false;  // a certificate without its key, or the reverse: nothing may be used then
  std::shared_ptr<const auth::Trust> authorities;
  std::shared_ptr<const auth::Trust> revocations;

  // Whether a flow of the name needs a handshake as far as is known here.
  [[nodiscard]] bool asks() const {
    return authenticate.value_or(auth::Authenticate::none) != auth::Authenticate::none ||
           encrypt.value_or(auth::Encrypt::off) != auth::Encrypt::off;
  }
};

// What one side of a flow to the name goes by.
struct SideSecurity {
  auth::Policy policy;
  std::shared_ptr<const auth::Credential> credential;
  std::shared_ptr<const auth::Trust> trust;  // null: nobody is believed
  std::shared_ptr<const auth::KemKey> server_key;
};
struct FlowSecurity {
  SideSecurity client;
  SideSecurity server;
};

// What is given goes before what the folder has; the policy that is given, and its authorities,
// hold for both sides. A client without a policy of its own goes along with that of the server.
// For a worker: it reads files. Errors: EKEYREJECTED: a part of it is there and cannot be used.
Result<FlowSecurity> security_of(auth::SecurityFolder& folder, std::string_view name,
                                 const GivenSecurity& given, Instant now);

class NameSecurity {
 public:
  enum class Part : std::uint8_t { certificate, key, ca, crl };
  static constexpr std::size_t kParts = 4;

  NameSecurity(registry::Users& users, uid_t owner) : users_(users), owner_(owner) {}

  [[nodiscard]] const GivenSecurity& given() const { return given_; }

  // `none`, `server`, `client`, `mutual`; `off`, `allow`, `require`; both: `default`, as the
  // security folder says. EINVAL otherwise.
  Status set_authenticate(std::string_view text);
  Status set_encrypt(std::string_view text);
  [[nodiscard]] std::string authenticate() const;
  [[nodiscard]] std::string encrypt() const;

  // A whole text, or the beginning of one that goes on: nothing changes then. White space alone
  // takes away what was set.
  Status set_text(Part part, std::string_view text);
  // EACCES of the key.
  [[nodiscard]] Result<std::string> text(Part part) const;

 private:
  struct Text {
    auth::Secret bytes;
    registry::Charge charge;
  };

  [[nodiscard]] std::string_view view(Part part) const;
  void combine();  // certificate and key, once one of them has changed

  registry::Users& users_;
  uid_t owner_;
  GivenSecurity given_;
  Text texts_[kParts];
};

}  // namespace flowfs::fs
