// SPDX-License-Identifier: BSD-3-Clause
// A program that maps an end of a flow, as tests need one: the client's half of docs/dataplane.md.
#pragma once

#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.hpp"
#include "flow/channel.hpp"
#include "pool/bell.hpp"
#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace flowfs::flow::test {

inline std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

inline std::string text(std::span<const std::byte> data) {
  std::string result(data.size(), '\0');
  std::memcpy(result.data(), data.data(), data.size());
  return result;
}

class Program {
 public:
  // The ioctl, and mapping tx, rx and the status file. Errors: those of Channel::attach.
  static Result<std::unique_ptr<Program>> attach(Channel& channel, Side side,
                                                 const pool::StatusFile& status) {
    const auto answer = channel.attach(side);
    if (!answer) {
      return std::unexpected(answer.error());
    }
    return std::unique_ptr<Program>(new Program(channel, side, status, *answer));
  }

  // "ok", "(full)", "(closed)", "(corrupt)".
  std::string send(std::string_view message) {
    follow_as_writer();
    constexpr auto kShut = FLOWFS_STATUS_PEER_DEAF | FLOWFS_STATUS_MUTE;
    if ((slot().flags & kShut) != 0) {
      return "(closed)";
    }
    switch (writer_->write(bytes(message))) {
      case pool::LaneWriter::Outcome::ok:
        bell_->wake_data();
        return "ok";
      case pool::LaneWriter::Outcome::full:
        return "(full)";
      case pool::LaneWriter::Outcome::corrupt:
        break;
    }
    return "(corrupt)";
  }

  // A record that names a block of a pool: "ok" or "(full)".
  std::string send_block(const flowfs_block& block) {
    follow_as_writer();
    if (writer_->stage_block(block) != pool::LaneWriter::Outcome::ok) {
      return "(full)";
    }
    writer_->publish();
    bell_->wake_data();
    return "ok";
  }

  // A message, "(empty)", "(end)" or "(corrupt)".
  std::string receive() {
    while (true) {
      const bool ended = look_for_end();
      pool::LaneReader::Record record;
      switch (reader_->peek(record)) {
        case pool::LaneReader::Outcome::record: {
          std::string message = text(record.payload);
          reader_->pop();
          if (cursors_->due(reader_->position())) {
            publish();
          }
          return message;
        }
        case pool::LaneReader::Outcome::corrupt:
          return "(corrupt)";
        case pool::LaneReader::Outcome::empty:
          publish();
          if (!ended) {
            return "(empty)";
          }
          return "(ends before its end)";
        case pool::LaneReader::Outcome::end:
          if (slot().peer_generation == reading_) {
            return "(end)";
          }
          follow_as_reader();
      }
    }
  }

  void publish() {
    cursors_->publish(reader_->position());
    follow_as_writer();
    bell_->wake_room();
  }
  void shutdown(std::uint32_t flags) {
    pool::shared(header().shutdown).fetch_or(flags);
    pool::Bell::ring(header());
  }
  // As before epoll on the message file: the peer rings for what is committed from now on.
  void sleep_on_data() { sleeper_->begin(pool::segment_header(rx_.bytes()).bell); }
  void wake_up() { sleeper_->end(); }

  [[nodiscard]] const flowfs_attach& answer() const { return answer_; }
  [[nodiscard]] flowfs_segment& header() const { return pool::segment_header(tx_.bytes()); }
  [[nodiscard]] std::span<std::byte> memory() const { return tx_.bytes(); }
  [[nodiscard]] const flowfs_status& slot() const {
    return reinterpret_cast<const flowfs_status*>(status_.data())[answer_.status_slot];
  }

 private:
  Program(Channel& channel, Side side, const pool::StatusFile& status, const flowfs_attach& answer)
      : channel_(&channel),
        side_(side),
        answer_(answer),
        geometry_(pool::Geometry::from(answer).value()),
        tx_(map(side, Mapping::Access::read_write)),
        rx_(map(other(side), Mapping::Access::read_only)),
        rx_to_read_(map(other(side), Mapping::Access::read_only)),
        status_(Mapping::map(status.fd(), status.bytes(), Mapping::Access::read_only).value()),
        writing_to_(answer.peer_generation),
        reading_(answer.peer_generation) {
    writer_.emplace(geometry_, tx_.bytes(), rx_.bytes(), pool::Generation{answer.generation},
                    answer.write);
    reader_.emplace(geometry_, rx_to_read_.bytes(), answer.read);
    cursors_.emplace(geometry_, header().cursors, pool::Generation{reading_}, answer.read);
    bell_.emplace(header(), pool::segment_header(rx_.bytes()));
    sleeper_.emplace(header().sleep_data);
  }

  Mapping map(Side side, Mapping::Access access) {
    const auto view = channel_->segment(side).value();
    const Fd fd(::dup(view.fd));
    return Mapping::map(fd, view.bytes, access).value();
  }
  // The slot is one cache line that hardly ever changes, so it is looked at for each record.
  bool look_for_end() {
    const flowfs_status& status = slot();
    if (status.peer_generation != reading_) {
      reader_->set_end(status.retired_at);
      return true;
    }
    if (status.closed_at != FLOWFS_LANE_OPEN) {
      reader_->set_end(status.closed_at);
      return true;
    }
    return false;
  }
  // The peer has a new segment: its cursors, its sleep words and its bell are there.
  void follow_as_writer() {
    if (slot().peer_generation != writing_to_) {
      writing_to_ = slot().peer_generation;
      rx_ = map(other(side_), Mapping::Access::read_only);
      writer_.emplace(geometry_, tx_.bytes(), rx_.bytes(), pool::Generation{answer_.generation},
                      writer_->position());
      bell_.emplace(header(), pool::segment_header(rx_.bytes()));
    }
  }
  // And its lane, once the old one has been read to the end.
  void follow_as_reader() {
    follow_as_writer();
    reading_ = slot().peer_generation;
    rx_to_read_ = map(other(side_), Mapping::Access::read_only);
    constexpr pool::Position kStart{.hot = 0, .bulk = 0, .sequence = 0};
    reader_.emplace(geometry_, rx_to_read_.bytes(), kStart);
    cursors_.emplace(geometry_, header().cursors, pool::Generation{reading_}, kStart);
    bell_->wake_room();
  }

  Channel* channel_;
  Side side_;
  flowfs_attach answer_;
  pool::Geometry geometry_;
  Mapping tx_;
  Mapping rx_;
  Mapping rx_to_read_;
  Mapping status_;
  std::uint64_t writing_to_;
  std::uint64_t reading_;
  std::optional<pool::LaneWriter> writer_;
  std::optional<pool::LaneReader> reader_;
  std::optional<pool::CursorPublisher> cursors_;
  std::optional<pool::Bell> bell_;
  std::optional<pool::Sleeper> sleeper_;
};

}  // namespace flowfs::flow::test
