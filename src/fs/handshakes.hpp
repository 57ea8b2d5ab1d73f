// SPDX-License-Identifier: BSD-3-Clause
// The handshakes of local flows: whether a dial may go on to the name it wants, and who stands
// behind the two ends then.
//
// Both sides of such a handshake are in this daemon, each with the certificate and the policy that
// are configured for it (name_security.hpp). The programs have no part in it. It runs on a worker,
// before the dial comes to the registry, so a server that waits never hears of one that is refused.
// There are names whose handshakes take long (an RSA key of 8192 bits), so users take turns there:
// whoever dials such a name without end keeps others waiting for one of his at a time.
//
// Where both sides allow encryption, what the flow carries is sealed from end to end with the keys
// that come out of it: flow/sealing.hpp.
// Threads: the loop's.
// Errors: an admission that is refused has the errno of auth::Refused, EKEYREJECTED where what the
// administrator wrote cannot be read, or ENOMEM; the reason is in the log, once a second for the
// same name.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "auth/handshake.hpp"
#include "auth/security_folder.hpp"
#include "base/clock.hpp"
#include "base/loop.hpp"
#include "base/token_bucket.hpp"
#include "base/worker.hpp"
#include "flow/sealing.hpp"
#include "fs/name_security.hpp"
#include "fs/turns.hpp"

namespace flowfs::fs {

// What a handshake came to.
struct Admission {
  int error = 0;         // 0: the dial may go on
  bool checked = false;  // there was a handshake: a policy asked for one
  std::string reason = {};
  std::string client = {};  // the subject of the certificate that was checked; empty: none was
  std::string server = {};
  auth::Choice choice = {};
  std::optional<flow::Keys> keys = {};  // where the flow is to be encrypted, until it is made
};

class Handshakes {
 public:
  using Wanted = std::function<bool()>;
  using Done = std::function<void(Admission)>;

  explicit Handshakes(Loop& loop) : loop_(loop) {}

  // Where the administrator's folder is. Once, before the first dial.
  void configure(std::string folder);

  // Whether a dial has to ask: not where nothing is given for the name and it was just seen that
  // there is no such folder.
  [[nodiscard]] bool wanted(const GivenSecurity& given, Instant now) const {
    return given.asks() || now >= next_look_;
  }
  // False where too many wait, of this user or of all. `done` runs later, unless nobody wants it
  // any more when its turn comes.
  [[nodiscard]] bool try_run(const std::string& name, GivenSecurity given, uid_t uid, Wanted wanted,
                             Done done);

  [[nodiscard]] std::uint64_t admitted() const { return admitted_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  static constexpr std::size_t kMostWaiting = 4'096;
  static constexpr std::size_t kMostOfOne = 256;

  struct State;  // what the worker uses
  struct Job {
    Wanted wanted;
    std::function<void()> run;  // on the worker
    std::function<void()> done;
  };
  void run_next();
  void finish(const std::string& name, uid_t uid, const Admission& admission);

  Loop& loop_;
  std::shared_ptr<State> state_;
  Turns<Job> waiting_{kMostWaiting, kMostOfOne};
  bool busy_ = false;                // the worker has a job
  std::unique_ptr<Workers> worker_;  // one thread, made at the first handshake
  Instant next_look_{};
  std::uint64_t admitted_ = 0;
  std::uint64_t refused_ = 0;
  std::string told_;  // what the log said last
  Instant told_at_{};
  TokenBucket lines_;
  std::uint64_t untold_ = 0;
};

}  // namespace flowfs::fs
