// SPDX-License-Identifier: BSD-3-Clause
#include "cli/ping_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace flowfs::cli {
namespace {

double micros(std::uint64_t ns) { return static_cast<double>(ns) / 1e3; }

double loss_percent(std::uint64_t transmitted, std::uint64_t answered) {
  return transmitted == 0 ? 0.0
                          : 100.0 * static_cast<double>(transmitted - answered) /
                                static_cast<double>(transmitted);
}

}  // namespace

void PingSession::sent(std::uint64_t now_ns) {
  waiting_.push_back({.sequence = ++transmitted_, .time_ns = now_ns});
  newest_waits_ = true;
}

std::optional<Reply> PingSession::received(std::span<const std::byte> answer,
                                           std::uint64_t now_ns) {
  if (waiting_.empty()) {
    ++stray_;
    return std::nullopt;
  }
  const Sent asked = waiting_.front();
  waiting_.pop_front();
  std::vector<std::byte> expected(size_bytes_);
  fill_payload(asked.sequence, expected);
  Reply reply{.sequence = asked.sequence,
              .time_ns = now_ns - asked.time_ns,
              .bytes = answer.size(),
              .late = !newest_waits_ || asked.sequence != transmitted_,
              .altered = !std::ranges::equal(answer, expected)};
  if (asked.sequence == transmitted_) {
    newest_waits_ = false;
  }
  times_.add(reply.time_ns);
  late_ += reply.late ? 1U : 0U;
  altered_ += reply.altered ? 1U : 0U;
  return reply;
}

void PingSession::gave_up() { newest_waits_ = false; }

std::string PingSession::summary(std::string_view name, std::uint64_t elapsed_ns) const {
  std::string text = fmt::format("--- {} ping statistics ---\n", name);
  text += fmt::format("{} messages sent, {} answered, {:.3g}% unanswered, time {:.0f} ms\n",
                      transmitted_, answered(), loss_percent(transmitted_, answered()),
                      static_cast<double>(elapsed_ns) / 1e6);
  for (const auto& [count, what] : {std::pair(late_, "late"),
                                    {altered_, "altered: not an echo server?"},
                                    {stray_, "unasked"}}) {
    if (count > 0) {
      text += fmt::format("{} answers {}\n", count, what);
    }
  }
  if (answered() > 0) {
    text += fmt::format("rtt min/avg/p50/p99/max = {:.1f}/{:.1f}/{:.1f}/{:.1f}/{:.1f} us\n",
                        micros(times_.least()), times_.mean() / 1e3, micros(times_.percentile(50)),
                        micros(times_.percentile(99)), micros(times_.greatest()));
  }
  return text;
}

nlohmann::ordered_json PingSession::summary_json(std::string_view name,
                                                 std::uint64_t elapsed_ns) const {
  nlohmann::ordered_json object{{"type", "summary"},
                                {"name", name},
                                {"size_bytes", size_bytes_},
                                {"sent", transmitted_},
                                {"answered", answered()},
                                {"late", late_},
                                {"altered", altered_},
                                {"unasked", stray_},
                                {"elapsed_ms", static_cast<double>(elapsed_ns) / 1e6}};
  if (answered() > 0) {
    object["rtt_us"] = {{"min", micros(times_.least())},
                        {"avg", times_.mean() / 1e3},
                        {"p50", micros(times_.percentile(50))},
                        {"p99", micros(times_.percentile(99))},
                        {"max", micros(times_.greatest())}};
  }
  return object;
}

std::string readable(std::string_view name, const Reply& reply) {
  return fmt::format("{} bytes from {}: seq={} time={:.1f} us{}{}", reply.bytes, name,
                     reply.sequence, micros(reply.time_ns), reply.late ? " (late)" : "",
                     reply.altered ? " (altered)" : "");
}

nlohmann::ordered_json as_json(const Reply& reply) {
  return {{"type", "reply"},      {"seq", reply.sequence},
          {"bytes", reply.bytes}, {"time_us", micros(reply.time_ns)},
          {"late", reply.late},   {"altered", reply.altered}};
}

}  // namespace flowfs::cli
