// SPDX-License-Identifier: BSD-3-Clause
#include "cli/perf_report.hpp"

#include <fmt/format.h>

#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

double micros(std::uint64_t ns) { return static_cast<double>(ns) / 1e3; }
double seconds(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }

double per_second(const PerfResult& result) {
  return result.elapsed_ns == 0
             ? 0
             : static_cast<double>(result.messages()) / seconds(result.elapsed_ns);
}

std::string_view shape_in_words(PerfShape shape) {
  switch (shape) {
    case PerfShape::send:
      return "messages one way";
    case PerfShape::receive:
      return "messages received";
    case PerfShape::round_trip:
      break;
  }
  return "round trips";
}

std::string_view shape_in_json(PerfShape shape) {
  switch (shape) {
    case PerfShape::send:
      return "one-way";
    case PerfShape::receive:
      return "receive";
    case PerfShape::round_trip:
      break;
  }
  return "round-trip";
}

// What the histogram is about.
std::string_view times_in_words(const PerfResult& result) {
  if (result.shape == PerfShape::round_trip) {
    return result.rate > 0 ? "from due to answered" : "round trip";
  }
  return "from due to sent";
}

std::string copies_in_words(const std::optional<double>& copies) {
  return copies ? fmt::format("{:.2f}", *copies) : "not counted";
}

nlohmann::ordered_json or_null(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

}  // namespace

std::optional<double> copies_per_message(const KeyValues& before, const KeyValues& after,
                                         std::uint64_t messages) {
  const auto from = before.number("copies_sent");
  const auto to = after.number("copies_sent");
  if (!from || !to || *to < *from || messages == 0) {
    return std::nullopt;
  }
  return static_cast<double>(*to - *from) / static_cast<double>(messages);
}

std::string readable(const PerfResult& result) {
  std::string text = fmt::format(
      "--- {}: {} of {} bytes, {} ---\n", result.name, shape_in_words(result.shape),
      result.size_bytes,
      result.mapped ? fmt::format("mapped, {}", result.waiting) : std::string("through files"));
  text += fmt::format("{} messages in {:.2f} s: {:.0f} a second, {:.4g} MB/s{}\n",
                      result.messages(), seconds(result.elapsed_ns), per_second(result),
                      per_second(result) * static_cast<double>(result.size_bytes) / 1e6,
                      result.shape == PerfShape::round_trip ? " each way" : "");
  const Histogram& times = result.times;
  if (times.count() > 0) {
    text += fmt::format(
        "{} p50/p99/p99.9/max = {:.2f}/{:.2f}/{:.2f}/{:.2f} us, min/avg = {:.2f}/{:.2f} us\n",
        times_in_words(result), micros(times.percentile(50)), micros(times.percentile(99)),
        micros(times.percentile(99.9)), micros(times.greatest()), micros(times.least()),
        times.mean() / 1e3);
  }
  text += fmt::format("copies of a message: {} sent, {} received\n",
                      copies_in_words(result.copies_sent), copies_in_words(result.copies_received));
  if (!result.good()) {
    text += fmt::format("WRONG: {} lost, {} out of order, {} of another length\n", result.lost,
                        result.disordered, result.altered);
  }
  return text;
}

nlohmann::ordered_json as_json(const PerfResult& result) {
  nlohmann::ordered_json object{
      {"type", "perf"},
      {"name", result.name},
      {"shape", shape_in_json(result.shape)},
      {"size_bytes", result.size_bytes},
      {"mapped", result.mapped},
      {"waiting", result.mapped ? result.waiting : "sleep"},
      {"rate_per_s", result.rate > 0 ? nlohmann::ordered_json(result.rate) : nullptr},
      {"sent", result.sent},
      {"received", result.received},
      {"lost", result.lost},
      {"out_of_order", result.disordered},
      {"altered", result.altered},
      {"elapsed_ms", micros(result.elapsed_ns) / 1e3},
      {"msgs_per_s", per_second(result)},
      {"bytes_per_s", per_second(result) * static_cast<double>(result.size_bytes)},
      {"copies_sent", or_null(result.copies_sent)},
      {"copies_received", or_null(result.copies_received)}};
  const Histogram& times = result.times;
  if (times.count() > 0) {
    object["time_us"] = {{"min", micros(times.least())},
                         {"avg", times.mean() / 1e3},
                         {"p50", micros(times.percentile(50))},
                         {"p99", micros(times.percentile(99))},
                         {"p99_9", micros(times.percentile(99.9))},
                         {"max", micros(times.greatest())}};
  }
  return object;
}

std::string progress(std::uint64_t seconds, std::uint64_t messages, std::uint64_t messages_before) {
  return fmt::format("{:>4} s  {:>7} messages  {:>7}/s", seconds, short_number(messages),
                     short_number(messages - messages_before));
}

}  // namespace flowfs::cli
