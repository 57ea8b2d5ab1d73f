// SPDX-License-Identifier: BSD-3-Clause
// The text in which counters and gauges are shown (Prometheus exposition format 0.0.4).
//
// Counters themselves are plain std::uint64_t members of whoever counts: each belongs to one
// thread, and the text is written on that thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace flowfs {

class MetricsText {
 public:
  enum class Type { counter, gauge };

  struct Label {
    std::string_view name;
    std::string_view value;  // any text: it is escaped
  };

  // Begins a family; its samples follow. Names are ours and match [a-z_][a-z0-9_]*.
  void family(std::string_view name, std::string_view help, Type type);

  // One sample of the family begun last, which must be `name`.
  void sample(std::string_view name, std::span<const Label> labels, std::uint64_t value);
  void sample(std::string_view name, std::initializer_list<Label> labels, std::uint64_t value) {
    sample(name, std::span(labels.begin(), labels.size()), value);
  }

  // A family of one sample without labels.
  void single(std::string_view name, std::string_view help, Type type, std::uint64_t value) {
    family(name, help, type);
    sample(name, {}, value);
  }

  // The text so far; the writer is empty afterwards.
  [[nodiscard]] std::string take();

 private:
  std::string text_;
  std::string family_;
};

}  // namespace flowfs
