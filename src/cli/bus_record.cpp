// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "bus/pcapng.hpp"
#include "cli/bus_actions.hpp"
#include "cli/bus_member.hpp"
#include "cli/key_value.hpp"
#include "cli/pcapng_reader.hpp"

namespace flowfs::cli {
namespace {

using Writer = bus::PcapngWriter;

constexpr mode_t kFileMode = 0666;

std::uint64_t wall_clock_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

std::string object_of(const std::string& bus) { return "buses/" + bus; }

// What was counted, on stdout unless the recording is there.
void report(const Common& common, bool to_stderr, const nlohmann::ordered_json& counts) {
  std::string text = counts.dump();
  if (!common.json) {
    text.clear();
    for (const auto& [key, value] : counts.items()) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value.dump());
    }
  }
  fmt::print(to_stderr ? stderr : stdout, "{}\n", text);
  std::fflush(to_stderr ? stderr : stdout);
}

class Recorder {
 public:
  Recorder(const Common& common, const BusOptions& options, Interrupts& interrupts)
      : common_(common),
        options_(options),
        interrupts_(interrupts),
        writer_(link_type(), kAsMuchAsReadersTake) {}

  int run();

 private:
  static constexpr std::uint32_t kAsMuchAsReadersTake = 0;

  [[nodiscard]] Writer::LinkType link_type() const;
  bool open_file_to_write();
  int record(BusMember& member);
  bool append(std::span<const std::byte> message);
  bool flush();
  int finish(const BusMember& member, int code);
  [[nodiscard]] const std::string& bus() const { return options_.words[0]; }
  [[nodiscard]] const std::string& file() const { return options_.words[1]; }

  const Common& common_;
  const BusOptions& options_;
  Interrupts& interrupts_;
  Writer writer_;
  Writer::Interface interface_{};
  Fd out_;
  std::string pending_;  // of the file, not yet written
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
};

// Frames are Ethernet; what programs say to each other is whatever they like.
Writer::LinkType Recorder::link_type() const {
  const auto policy = read_attribute(common_.path(fmt::format("buses/{}/policy", bus())));
  return !policy || trim(*policy) == "broadcast" ? Writer::LinkType::messages
                                                 : Writer::LinkType::ethernet;
}

bool Recorder::open_file_to_write() {
  out_ = file() == "-"
             ? Fd(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0))
             : Fd(open(file().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode));
  if (!out_) {
    complain(fmt::format("cannot write {}: {}", file(), errno_in_words(errno)));
  }
  return static_cast<bool>(out_);
}

bool Recorder::flush() {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t done = write(out_.get(), rest.data(), rest.size());
    if (done < 0 && errno != EINTR) {
      complain(fmt::format("cannot write {}: {}", file(), errno_in_words(errno)));
      return false;
    }
    rest.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(done, 0)));
  }
  pending_.clear();
  return true;
}

bool Recorder::append(std::span<const std::byte> message) {
  ++messages_;
  bytes_ += message.size();
  const Writer::Packet packet{.interface = interface_,
                              .time_ns = wall_clock_ns(),
                              .bytes = message,
                              .length = message.size()};
  return writer_.packet(packet, pending_) && flush();
}

int Recorder::record(BusMember& member) {
  while (!interrupts_.stop() && (options_.count == 0 || messages_ < options_.count)) {
    const auto message = member.receive();
    if (message) {
      if (!append(*message)) {
        return kFailed;
      }
    } else if (message.error().error != EINTR) {
      return failed(Deed::bus, object_of(bus()), message.error().error);
    }
  }
  return kDone;
}

int Recorder::finish(const BusMember& member, int code) {
  const std::uint64_t dropped = member.dropped().value_or(0);
  writer_.statistics(interface_,
                     {.time_ns = wall_clock_ns(), .received = messages_, .dropped = dropped},
                     pending_);
  if (!flush()) {
    code = kFailed;
  }
  report(common_, file() == "-",
         {{"messages", messages_}, {"bytes", bytes_}, {"dropped", dropped}});
  return code;
}

int Recorder::run() {
  auto member = BusMember::join(common_, bus(), O_RDONLY);
  if (!member) {
    return failed(Deed::bus, object_of(bus()), member.error().error);
  }
  if (!open_file_to_write()) {
    return kFailed;
  }
  Writer::start("flowctl " FLOWFS_VERSION, pending_);
  interface_ = writer_.interface(bus(), pending_);
  return flush() ? finish(*member, record(*member)) : kFailed;
}

class Replayer {
 public:
  Replayer(const Common& common, const BusOptions& options, Interrupts& interrupts)
      : common_(common), options_(options), interrupts_(interrupts) {}

  int run();

 private:
  int replay(BusMember& member, const Fd& in);
  int send_all(BusMember& member);
  int send(BusMember& member, const PcapngReader::Packet& packet);
  void wait_for(std::uint64_t time_ns);
  [[nodiscard]] bool enough() const {
    return interrupts_.stop() || (options_.count != 0 && messages_ >= options_.count);
  }
  [[nodiscard]] const std::string& bus() const { return options_.words[0]; }
  [[nodiscard]] const std::string& file() const { return options_.words[1]; }

  const Common& common_;
  const BusOptions& options_;
  Interrupts& interrupts_;
  PcapngReader reader_;
  Instant start_;  // when the first packet was sent
  std::optional<std::uint64_t> first_ns_;
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t cut_off_ = 0;
};

// Until it is as long after the first packet as it was then. A signal ends it early.
void Replayer::wait_for(std::uint64_t time_ns) {
  if (!first_ns_) {
    first_ns_ = time_ns;
    start_ = Clock::now();
  }
  if (options_.speed == 0 || time_ns <= *first_ns_) {
    return;
  }
  const double wait_s = static_cast<double>(time_ns - *first_ns_) / 1e9 / options_.speed;
  constexpr double kLongest_s = 1e9;
  const Instant due = later(start_, micros_of(std::min(wait_s, kLongest_s)));
  while (!interrupts_.stop() && Clock::now() < due) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(due - Clock::now());
    const timespec wait{.tv_sec = std::max<std::int64_t>(left.count(), 0) / 1'000'000'000,
                        .tv_nsec = std::max<std::int64_t>(left.count(), 0) % 1'000'000'000};
    nanosleep(&wait, nullptr);
  }
}

int Replayer::send(BusMember& member, const PcapngReader::Packet& packet) {
  if (packet.cut_off || packet.bytes.empty()) {
    ++cut_off_;
    return kDone;
  }
  wait_for(packet.time_ns);
  while (!interrupts_.stop()) {
    const Status sent = member.send(as_message(packet.bytes));
    if (sent) {
      ++messages_;
      bytes_ += packet.bytes.size();
      return kDone;
    }
    if (sent.error().error != EINTR) {
      return failed(Deed::bus, object_of(bus()), sent.error().error);
    }
  }
  return kDone;
}

// What reader_ has.
int Replayer::send_all(BusMember& member) {
  PcapngReader::Packet packet;
  while (!enough()) {
    switch (reader_.next(packet)) {
      case PcapngReader::Outcome::more:
        return kDone;
      case PcapngReader::Outcome::broken:
        complain(fmt::format("{} is no pcapng file, or is damaged", file()));
        return kFailed;
      case PcapngReader::Outcome::packet:
        if (const int code = send(member, packet); code != kDone) {
          return code;
        }
    }
  }
  return kDone;
}

int Replayer::replay(BusMember& member, const Fd& in) {
  std::array<char, 65536> buffer{};
  while (!enough()) {
    const ssize_t bytes = read(in.get(), buffer.data(), buffer.size());
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0) {
      complain(fmt::format("cannot read {}: {}", file(), errno_in_words(errno)));
      return kFailed;
    }
    if (bytes == 0) {
      if (!reader_.at_end()) {
        complain(fmt::format("{} is no pcapng file, or ends within a packet", file()));
      }
      return reader_.at_end() ? kDone : kFailed;
    }
    reader_.add({buffer.data(), static_cast<std::size_t>(bytes)});
    if (const int code = send_all(member); code != kDone) {
      return code;
    }
  }
  return kDone;
}

int Replayer::run() {
  const Fd in = file() == "-" ? Fd(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0))
                              : Fd(open(file().c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) {
    complain(fmt::format("cannot read {}: {}", file(), errno_in_words(errno)));
    return kFailed;
  }
  auto member = BusMember::join(common_, bus(), O_WRONLY);
  if (!member) {
    return failed(Deed::bus, object_of(bus()), member.error().error);
  }
  const int code = replay(*member, in);
  report(common_, false, {{"messages", messages_}, {"bytes", bytes_}, {"cut_off", cut_off_}});
  return code;
}

}  // namespace

int record_bus(const Common& common, const BusOptions& options, Interrupts& interrupts) {
  return Recorder(common, options, interrupts).run();
}

int replay_bus(const Common& common, const BusOptions& options, Interrupts& interrupts) {
  return Replayer(common, options, interrupts).run();
}

}  // namespace flowfs::cli
