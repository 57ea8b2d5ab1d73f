// SPDX-License-Identifier: BSD-3-Clause
#include "fs/handshakes.hpp"

#include <sys/stat.h>

#include <chrono>
#include <ctime>
#include <new>
#include <utility>

#include "base/log.hpp"

namespace flowfs::fs {
namespace {

constexpr double kRate = 500;  // handshakes a second of one uid
constexpr std::chrono::seconds kTellAgain{1};
constexpr double kLines = 200;  // of the log, a second; whatever is refused beyond is counted

// The time of headers: that of this machine's clock when the daemon started, and what has passed
// since. Both sides are here, so it does not matter that it may be set in between.
class HeaderClock {
 public:
  [[nodiscard]] auth::Time now() const {
    const Instant steady = Clock::now();
    const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(steady - began_);
    return {.header_ns = began_ns_ + static_cast<std::uint64_t>(passed.count()),
            .calendar = std::time(nullptr),
            .steady = steady};
  }

 private:
  Instant began_ = Clock::now();
  std::uint64_t began_ns_ = wall_clock_us() * 1'000;
};

Admission refused_by(const auth::Refused& refused, const char* side) {
  return {.error = refused.error(), .reason = fmt::format("{} ({})", refused.words(), side)};
}

// Whether there is anything to agree on: somebody to show who it is, or something to encrypt.
bool asks(const auth::Policy& client, const auth::Policy& server) {
  const auto requires_it = [](const auth::Policy& policy) {
    return policy.encrypt == auth::Encrypt::require || policy.require_pq;
  };
  return wanted_by_both(client, server) != auth::Authenticate::none || requires_it(client) ||
         requires_it(server) ||
         (client.encrypt != auth::Encrypt::off && server.encrypt != auth::Encrypt::off);
}

}  // namespace

// Used by one job at a time, on the worker.
struct Handshakes::State {
  explicit State(std::string path)
      : folder(std::move(path), [](const auth::Complaint& complaint) {
          log::warning("cannot use a file of the security folder path={} why=\"{}\"",
                       complaint.path, complaint.why);
        }) {}

  Admission run(const std::string& name, const GivenSecurity& given, uid_t uid) noexcept;
  Admission admit(const std::string& name, const GivenSecurity& given, uid_t uid);
  Admission shake_hands(auth::Party client, const auth::Party& server, uid_t uid);
  // What is there and cannot be looked into may have a policy.
  [[nodiscard]] bool folder_is_there() const {
    struct stat status = {};
    return ::lstat(folder.path().c_str(), &status) == 0 || errno != ENOENT;
  }

  auth::SecurityFolder folder;
  HeaderClock clock;
  auth::KnownChains known;
  auth::RateLimit dials{kRate};
  auth::Responder responder{{.rate = 2 * kRate}, clock.now()};  // `dials` has the say
};

Admission Handshakes::State::run(const std::string& name, const GivenSecurity& given,
                                 uid_t uid) noexcept {
  try {
    return admit(name, given, uid);
  } catch (const std::bad_alloc&) {
    return {.error = ENOMEM, .reason = "out of memory"};
  }
}

Admission Handshakes::State::admit(const std::string& name, const GivenSecurity& given, uid_t uid) {
  const auto security = security_of(folder, name, given, Clock::now());
  if (!security) {
    return {.error = security.error().error,
            .reason = fmt::format("what is configured for the name cannot be used: {}",
                                  security.error().message())};
  }
  if (!asks(security->client.policy, security->server.policy)) {
    return {};
  }
  auth::Party server{.name = name,
                     .policy = security->server.policy,
                     .credential = security->server.credential.get(),
                     .trust = security->server.trust.get(),
                     .server_key = security->server.server_key.get(),
                     .known = &known};
  auth::Party client{.name = name,
                     .policy = security->client.policy,
                     .credential = security->client.credential.get(),
                     .trust = security->client.trust.get(),
                     .server_key = security->client.server_key.get(),
                     .known = &known};
  return shake_hands(std::move(client), server, uid);
}

Admission Handshakes::State::shake_hands(auth::Party client, const auth::Party& server, uid_t uid) {
  // Before either side does anything: the daemon pays for the client's too.
  if (!dials.admit(uid, Clock::now())) {
    return refused_by(auth::Refusal::too_many, "the server, of the client");
  }
  const auto initiator = auth::Initiator::start(std::move(client), clock.now());
  if (!initiator) {
    return refused_by(initiator.error(), "the client's side");
  }
  const auto answered = responder.answer(initiator->request(), server, uid, clock.now());
  if (!answered) {
    return refused_by(answered.error(), "the server, of the client");
  }
  auto session = initiator->finish(answered->bytes, clock.now());
  if (!session) {
    return refused_by(session.error(), "the client, of the server");
  }
  Admission admission{.checked = true,
                      .client = answered->session.subject,
                      .server = session->subject,
                      .choice = session->choice};
  if (session->choice.encrypted()) {
    admission.keys.emplace(flow::Keys{.choice = session->choice,
                                      .to_server = std::move(session->sending),
                                      .to_client = std::move(session->receiving)});
  }
  return admission;
}

void Handshakes::configure(std::string folder) {
  state_ = std::make_shared<State>(std::move(folder));
}

bool Handshakes::try_run(const std::string& name, GivenSecurity given, uid_t uid, Wanted wanted,
                         Done done) {
  FLOWFS_CHECK(state_ != nullptr);
  struct Outcome {
    Admission admission;
    bool folder_is_there = true;
  };
  auto outcome = std::make_shared<Outcome>();
  auto job = [state = state_, outcome, name, given = std::move(given), uid] {
    outcome->folder_is_there = state->folder_is_there();
    if (outcome->folder_is_there || given.asks()) {
      outcome->admission = state->run(name, given, uid);
    }
  };
  auto told = [this, outcome, name, uid, done = std::move(done)] {
    if (!outcome->folder_is_there) {
      next_look_ = Clock::now() + auth::SecurityFolder::kLookAgain;
    }
    finish(name, uid, outcome->admission);
    done(std::move(outcome->admission));
  };
  if (!waiting_.try_add(
          uid, {.wanted = std::move(wanted), .run = std::move(job), .done = std::move(told)})) {
    return false;
  }
  if (!busy_) {
    run_next();
  }
  return true;
}

void Handshakes::run_next() {
  std::optional<Job> job = waiting_.take();
  while (job && !job->wanted()) {
    job = waiting_.take();
  }
  busy_ = job.has_value();
  if (!busy_) {
    return;
  }
  if (worker_ == nullptr) {
    worker_ = std::make_unique<Workers>(loop_, "handshakes");
  }
  const bool submitted =
      worker_->try_submit(std::move(job->run), [this, done = std::move(job->done)] {
        run_next();  // first, so that the worker goes on meanwhile
        done();
      });
  FLOWFS_CHECK(submitted);  // it has one at a time
}

void Handshakes::finish(const std::string& name, uid_t uid, const Admission& admission) {
  if (admission.error == 0) {
    admitted_ += admission.checked ? 1 : 0;
    return;
  }
  ++refused_;
  std::string line =
      fmt::format("refused a dial name={} uid={} why=\"{}\"", name, uid, admission.reason);
  const Instant now = Clock::now();
  if (line == told_ && now - told_at_ < kTellAgain) {
    return;
  }
  if (!lines_.take(kLines, now)) {
    ++untold_;
    return;
  }
  if (untold_ > 0) {
    log::notice("refused more dials than are told of count={}", std::exchange(untold_, 0));
  }
  log::notice("{}", line);
  told_ = std::move(line);
  told_at_ = now;
}

}  // namespace flowfs::fs
