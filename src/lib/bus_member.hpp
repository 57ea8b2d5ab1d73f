// SPDX-License-Identifier: BSD-3-Clause
// A member of a bus, from join() until it is destroyed.
//
// Threads, errors, fork: as flowfs.h says.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lib/bus_receiver.hpp"
#include "lib/bus_sender.hpp"
#include "lib/end.hpp"

namespace flowfs::lib {

class BusMember final : public End {
 public:
  static Result<std::unique_ptr<End>> join(const std::string& mount, const std::string& bus,
                                           unsigned flags);

  // Through the daemon in both modes, which tells a mapped member in its status slot.
  Status shut_down(bool receiving, bool sending) override;
  [[nodiscard]] Result<std::uint32_t> state() const override;
  [[nodiscard]] Result<flowfs_peer> peer() const override;
  void abandon() override;

 private:
  class Mapped final : public MappedSides {
   public:
    Mapped(std::unique_ptr<BusAttachment> made, const SpinBudget& spin);
    MappedSending& sending() override { return *sender_; }
    MappedReceiving& receiving() override { return *receiver_; }
    void close_files() override;

   private:
    std::unique_ptr<BusAttachment> attachment_;
    std::unique_ptr<MappedSending> sender_;
    std::unique_ptr<MappedReceiving> receiver_;
  };

  BusMember(MessageFile message, std::string mount, Fd folder, unsigned flags, FileSender::Mtu mtu)
      : End(std::move(message), std::move(mount), flags, std::move(mtu)),
        folder_(std::move(folder)) {}
  Status come_up(const Wait& wait) override;

  // All files of the bus are opened below it, so that they are of one bus though it is renamed.
  Fd folder_;
};

}  // namespace flowfs::lib
