// SPDX-License-Identifier: BSD-3-Clause
// Makes certificates: an authority for a laboratory, and what it signs. Keys are Ed25519.
//
// Threads: any, as there is no state.
// Errors: EIO: OpenSSL could not; of what is given, as in credentials.hpp.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "auth/bytes.hpp"
#include "auth/certificates.hpp"
#include "base/result.hpp"

namespace flowfs::auth {

// Both as PEM.
struct Issued {
  std::string certificate;
  Secret key;
};

struct Validity {
  std::time_t from = 0;
  unsigned days = 0;
};

Result<Issued> make_authority(std::string_view common_name, Validity validity);

inline constexpr std::size_t kLongestCommonName = 64;  // as X.520 has it

struct Request {
  std::string name;                // of the flow
  std::vector<std::string> hosts;  // that it is called as well, by DNS
  Purpose purpose = Purpose::server;
  std::string common_name;  // for people
};

// The authority's certificate and key as make_authority() gives them. EINVAL: a name or a host with
// characters that none has.
Result<Issued> issue(std::string_view authority, std::string_view authority_key,
                     const Request& request, Validity validity);

// A list that revokes what `before` does (empty: nothing) and `certificate`, and is in force for
// the time given.
Result<std::string> revoke(std::string_view authority, std::string_view authority_key,
                           std::string_view before, std::string_view certificate,
                           Validity validity);

}  // namespace flowfs::auth
