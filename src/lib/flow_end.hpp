// SPDX-License-Identifier: BSD-3-Clause
// One end of a flow.
//
// Threads, errors, fork: as flowfs.h says.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lib/end.hpp"
#include "lib/mapped_receiver.hpp"
#include "lib/mapped_sender.hpp"

namespace flowfs::lib {

enum class Role : std::uint8_t { client, server };

class FlowEnd final : public End {
 public:
  static Result<std::unique_ptr<End>> open(Role role, const std::string& mount,
                                           const std::string& name, unsigned flags,
                                           const Wait& wait);

  [[nodiscard]] std::uint64_t pool() const override;
  Status shut_down(bool receiving, bool sending) override;
  [[nodiscard]] Result<std::uint32_t> state() const override;
  [[nodiscard]] Result<flowfs_peer> peer() const override;

 private:
  class Mapped final : public MappedSides {
   public:
    Mapped(std::unique_ptr<Attachment> made, const SpinBudget& spin)
        : attachment_(std::move(made)),
          sender_(*attachment_, spin),
          receiver_(*attachment_, spin) {}
    // The daemon says it too; but a mapped flow goes on where that has ended.
    ~Mapped() override { tell_peer(FLOWFS_SHUT_SEND | FLOWFS_SHUT_RECEIVE); }
    Mapped(const Mapped&) = delete;
    Mapped& operator=(const Mapped&) = delete;
    MappedSender& sending() override { return sender_; }
    MappedReceiver& receiving() override { return receiver_; }
    void close_files() override {
      attachment_->tx_fd.reset();
      attachment_->sealed.reset();  // keys are not for a child
    }
    [[nodiscard]] const Attachment& attachment() const { return *attachment_; }
    // FLOWFS_SHUT_*: what this end does no more.
    void tell_peer(std::uint32_t what) const;

   private:
    std::unique_ptr<Attachment> attachment_;
    MappedSender sender_;
    MappedReceiver receiver_;
  };

  FlowEnd(MessageFile message, std::string mount, unsigned flags, FileSender::Mtu mtu)
      : End(std::move(message), std::move(mount), flags, std::move(mtu)) {}
  static Result<MessageFile> open_allowed(const std::string& path, unsigned flags,
                                          const Wait& wait);
  Status come_up(const Wait& wait) override;
  [[nodiscard]] Status why_it_failed() const;
  void settle_mode();
  [[nodiscard]] Status is_served() const;
  [[nodiscard]] Result<std::string> read(const char* name) const;
  Status control(const char* verb) const;
  [[nodiscard]] std::string file(const char* name) const;

  Mapped* mapped_ = nullptr;  // the sides, where the mode is `mapped`
};

}  // namespace flowfs::lib
