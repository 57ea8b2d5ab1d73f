// SPDX-License-Identifier: BSD-3-Clause
// The folder that the administrator keeps: whom this machine believes, and for each name who its
// server and its clients are and what they ask for.
//
//     cacert/  authorities        untrusted/  what completes chains      crl/  who is revoked
//     server/NAME/ and client/NAME/   crt.pem  key.pem  kem.pem  enc.toml
//
// Threads: any; it reads files, so never the loop's.
// Shape: a part is read when it is asked for and again when it has changed or could not be used,
// and looked at no more than once in kLookAgain. Errors: whatever is there and cannot be used fails
// whoever asks for it (EKEYREJECTED), as going on without it would be to do less than the
// administrator wanted; only an authority that cannot be read is passed over. The reasons go to
// `complain`, once until the files change.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/certificates.hpp"
#include "auth/credentials.hpp"
#include "auth/guarded_folder.hpp"
#include "auth/kem_key.hpp"
#include "auth/policy.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"

namespace flowfs::auth {

enum class Side : std::uint8_t { server, client };
std::string_view to_string(Side side);

// A file or a folder that cannot be used.
struct Complaint {
  std::string path;
  std::string why;
  bool operator==(const Complaint&) const = default;
};
using Complaints = std::vector<Complaint>;

// What the folder has about one side of a name.
struct NameSecurity {
  std::shared_ptr<const Credential> credential;  // null: none
  std::optional<Policy> policy;                  // nullopt: none
  std::shared_ptr<const KemKey> server_key;      // null: none
};

class SecurityFolder {
 public:
  static constexpr std::chrono::seconds kLookAgain{1};
  // Names with files of their own that are remembered; beyond, all are read anew.
  static constexpr std::size_t kMostNames = 1024;
  static constexpr std::size_t kMostListed = 64 * 1024;

  using Complain = std::function<void(const Complaint&)>;

  SecurityFolder(std::string path, Complain complain);

  [[nodiscard]] const std::string& path() const { return path_; }

  // Both sides and everybody share it. ENOKEY: no authority is there.
  Result<std::shared_ptr<const Trust>> trust(Instant now);
  // EINVAL: no name of a flow.
  Result<NameSecurity> of(Side side, std::string_view name, Instant now);

  // The names that have a folder, for whoever checks all of them. Empty where there are none, and,
  // with a complaint, where they cannot be listed.
  [[nodiscard]] std::vector<std::string> names(Side side) const;

 private:
  // One part as it was read last.
  template <typename Value>
  struct Part {
    Instant looked{};
    std::vector<Stamp> stamps;
    bool lasts = false;  // as long as these are the stamps
    Complaints complaints;
    std::optional<Result<Value>> value;  // nullopt: never read
  };
  using SharedTrust = std::shared_ptr<const Trust>;

  template <typename Value, typename Stamps, typename Load>
  Result<Value> look(Part<Value>& part, Instant now, const Stamps& stamps, const Load& load);
  [[nodiscard]] std::string path_of(Side side, const std::string& name) const;
  [[nodiscard]] Result<GuardedFolder> folder_of(Side side, const std::string& name,
                                                Complaints& complaints) const;
  [[nodiscard]] std::vector<Stamp> stamps_of_trust() const;
  [[nodiscard]] std::vector<Stamp> stamps_of(Side side, const std::string& name) const;
  Result<SharedTrust> load_trust(Complaints& complaints) const;
  Result<NameSecurity> load(Side side, const std::string& name, Complaints& complaints) const;

  std::string path_;
  Complain complain_;
  std::mutex mutex_;
  Part<SharedTrust> trust_;                                           // under mutex_
  std::map<std::pair<Side, std::string>, Part<NameSecurity>> names_;  // under mutex_
};

}  // namespace flowfs::auth
