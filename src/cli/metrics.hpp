// SPDX-License-Identifier: BSD-3-Clause
// The text of `metrics`, read into something that can be asked. Pure.
//
// Input: a daemon of another version may have written it, so a line that is not understood is
// skipped, and what is not there is 0.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowfs::cli {

class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  static Metrics parse(std::string_view text);

  // The sum of all samples of this name that have all of these labels.
  [[nodiscard]] double total(std::string_view name, const Labels& labels = {}) const;
  [[nodiscard]] bool empty() const { return samples_.empty(); }

 private:
  struct Sample {
    std::string name;
    Labels labels;
    double value = 0;
  };

  std::vector<Sample> samples_;
};

}  // namespace flowfs::cli
