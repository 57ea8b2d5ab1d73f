// SPDX-License-Identifier: BSD-3-Clause
// What `flowctl top` knows of the tree at one moment, what has moved since the moment before, and
// how it shows both. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/metrics.hpp"
#include "cli/status_view.hpp"

namespace flowfs::cli {

// One file of pools/.
struct PoolStatus {
  std::string name;
  std::string owner;
  std::uint64_t size_bytes = 0;
};

struct TopSample {
  double time_s = 0;  // CLOCK_MONOTONIC
  Snapshot snapshot;
  std::vector<PoolStatus> pools;
  Metrics metrics;
};

enum class TopSort : std::uint8_t { id, messages, bytes, name };
// Two samples, the later one being shown.
class TopView {
 public:
  TopView(const TopSample& before, const TopSample& now) : before_(before), now_(now) {}

  // Lines with their newlines. `width` 0: as wide as it comes.
  [[nodiscard]] std::string render(std::size_t width, TopSort sort) const;
  [[nodiscard]] nlohmann::ordered_json as_json(TopSort sort) const;

 private:
  // Of a flow or a name, a second; nullopt where the object is new.
  struct Rates {
    std::optional<double> messages_out;
    std::optional<double> messages_in;
    std::optional<double> bytes_out;
    std::optional<double> bytes_in;
  };
  struct Row {
    const FlowStatus* flow = nullptr;
    Rates rates;
  };

  [[nodiscard]] double seconds() const { return now_.time_s - before_.time_s; }
  [[nodiscard]] std::optional<double> rate(const KeyValues* before, const KeyValues& now,
                                           std::string_view key) const;
  [[nodiscard]] double rate(std::string_view metric) const;
  [[nodiscard]] Rates rates(const KeyValues* before, const KeyValues& now, std::string_view out,
                            std::string_view in) const;
  [[nodiscard]] Rates rates_of(const NameStatus& name) const;
  [[nodiscard]] const NameStatus* find_before(const NameStatus& name) const;
  [[nodiscard]] std::vector<Row> flows(TopSort sort) const;
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] std::string render_flows(std::size_t width, TopSort sort) const;
  [[nodiscard]] std::string render_names(std::size_t width) const;
  [[nodiscard]] std::string render_pools(std::size_t width) const;
  [[nodiscard]] double blocks(const PoolStatus& pool, std::string_view state) const;
  static nlohmann::ordered_json rates_as_json(const Rates& rates);

  const TopSample& before_;
  const TopSample& now_;
};

}  // namespace flowfs::cli
