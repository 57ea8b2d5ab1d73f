// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>

namespace flowfs::log {
namespace {

struct LevelNames {
  Level level;
  spdlog::level::level_enum spdlog_level;
  std::string_view name;
  std::string_view journal_prefix;  // sd-daemon(3)
};

// spdlog has no notice, so every level below error moves down by one there.
constexpr std::array<LevelNames, 5> kLevels{{
    {Level::error, spdlog::level::err, "error", "<3>"},
    {Level::warning, spdlog::level::warn, "warning", "<4>"},
    {Level::notice, spdlog::level::info, "notice", "<5>"},
    {Level::info, spdlog::level::debug, "info", "<6>"},
    {Level::debug, spdlog::level::trace, "debug", "<7>"},
}};

const LevelNames& names_of(Level level) { return kLevels.at(static_cast<std::size_t>(level)); }

enum class Style { journal, terminal };

// Writes what a line begins with for its level: the %* of the pattern.
class LevelFlag : public spdlog::custom_flag_formatter {
 public:
  explicit LevelFlag(Style style) : style_(style) {}
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    for (const LevelNames& names : kLevels) {
      if (names.spdlog_level == message.level) {
        const std::string_view text = style_ == Style::journal ? names.journal_prefix : names.name;
        out.append(text.data(), text.data() + text.size());
      }
    }
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelFlag>(style_);
  }

 private:
  Style style_;
};

// Whether stderr is the journal's: JOURNAL_STREAM is inherited, so it alone does not say.
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");  // NOLINT(concurrency-mt-unsafe)
  struct stat status{};
  return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
         fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

std::unique_ptr<spdlog::logger> make_logger() {
  const Style style = stderr_is_journal() ? Style::journal : Style::terminal;
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelFlag>('*', style);
  formatter->set_pattern(style == Style::journal ? "%*%v" : "%Y-%m-%dT%H:%M:%S.%e%z %* %v");
  auto logger =
      std::make_unique<spdlog::logger>("flowfs", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::move(formatter));
  logger->set_level(names_of(Level::info).spdlog_level);
  return logger;
}

spdlog::logger& logger() {
  // Never destroyed: a line may be written while statics are destroyed.
  static spdlog::logger* const instance = make_logger().release();
  return *instance;
}

// Lines carry text that clients chose: a newline must not begin a line of its own.
std::string printable(std::string_view line) {
  std::string text;
  text.reserve(line.size());
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(text), "\\x{:02x}", byte);
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

void set_level(Level level) { logger().set_level(names_of(level).spdlog_level); }

bool parse_level(std::string_view text, Level& level) {
  for (const LevelNames& names : kLevels) {
    if (names.name == text) {
      level = names.level;
      return true;
    }
  }
  return false;
}

bool enabled(Level level) { return logger().should_log(names_of(level).spdlog_level); }

void write(Level level, std::string_view line) {
  if (enabled(level)) {
    logger().log(names_of(level).spdlog_level, "{}", printable(line));
  }
}

}  // namespace flowfs::log
