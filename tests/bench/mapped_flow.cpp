// SPDX-License-Identifier: BSD-3-Clause
#include "mapped_flow.hpp"

#include <flowfs/flowfs.h>
#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace flowfs::bench {
namespace {

constexpr std::int64_t kPatienceUs = 10'000'000;
constexpr uid_t kNobody = 65534;

class MappedSide : public Side {
 public:
  MappedSide(flowfs_handle* flow, const MappedUse& use) : flow_(flow), pieces_(use.batch) {
    // Refused, but not before it is settled how the end works.
    if (flow_ == nullptr || (flowfs_send(flow_, nullptr, 0, kPatienceUs) != 0 && errno != EINVAL)) {
      die("a flow");
    }
    if (flowfs_is_mapped(flow_) != 1) {
      errno = ENOTSUP;
      die("a mapped flow");
    }
    flowfs_block_least(flow_, use.block_least);
  }
  ~MappedSide() override { flowfs_close(flow_); }
  MappedSide(const MappedSide&) = delete;
  MappedSide& operator=(const MappedSide&) = delete;

  void send(std::span<const std::byte> message) override {
    if (flowfs_send(flow_, message.data(), message.size(), FLOWFS_FOREVER) != 0) {
      die("flowfs_send");
    }
  }
  void receive(std::span<std::byte> message) override {
    expect(flowfs_recv(flow_, message.data(), message.size(), FLOWFS_FOREVER), message.size());
  }
  std::size_t send_some(std::span<const std::byte> message, std::size_t most) override {
    if (pieces_.size() == 1) {
      return Side::send_some(message, most);
    }
    // sendv and its like take what is sent as writable, after iovec.
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
    auto* const data = const_cast<std::byte*>(message.data());
    const auto count = static_cast<int>(std::min(pieces_.size(), most));
    std::fill_n(pieces_.begin(), count, iovec{.iov_base = data, .iov_len = message.size()});
    return some(flowfs_send_many(flow_, pieces_.data(), count, FLOWFS_FOREVER));
  }
  std::size_t receive_some(std::span<std::byte> message, std::size_t most) override {
    if (pieces_.size() == 1) {
      return Side::receive_some(message, most);
    }
    const auto count = static_cast<int>(std::min(pieces_.size(), most));
    messages_.resize(message.size() * pieces_.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      pieces_[i] = {.iov_base = messages_.data() + i * message.size(), .iov_len = message.size()};
    }
    return some(flowfs_recv_many(flow_, pieces_.data(), count, FLOWFS_FOREVER));
  }

 protected:
  static void expect(ssize_t got, std::size_t bytes) {
    if (got != static_cast<ssize_t>(bytes)) {
      die("flowfs_recv");
    }
  }
  [[nodiscard]] flowfs_handle* flow() const { return flow_; }

 private:
  static std::size_t some(ssize_t count) {
    if (count <= 0) {
      die("a batch");
    }
    return static_cast<std::size_t>(count);
  }

  flowfs_handle* flow_;
  std::vector<iovec> pieces_;
  std::vector<std::byte> messages_;
};

// The payload stays where it is: neither side touches more than its first byte.
class InPlaceSide final : public MappedSide {
 public:
  using MappedSide::MappedSide;

  void send(std::span<const std::byte> message) override {
    flowfs_space space{};
    if (flowfs_loan(flow(), message.size(), FLOWFS_FOREVER, &space) != 0) {
      die("flowfs_loan");
    }
    *static_cast<std::byte*>(space.data) = message[0];
    if (flowfs_commit(&space, message.size(), FLOWFS_FOREVER) != 0) {
      die("flowfs_commit");
    }
  }
  void receive(std::span<std::byte> message) override {
    flowfs_view view{};
    expect(flowfs_borrow(flow(), FLOWFS_FOREVER, &view), message.size());
    message[0] = *static_cast<const std::byte*>(view.data);
    flowfs_release(&view);
  }
};

void become_nobody() {
  if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
      setresuid(kNobody, kNobody, kNobody) != 0) {
    die("another user");
  }
}

}  // namespace

Transport mapped_flows(const std::string& transport_name, const std::string& mount,
                       const BenchName& name, const MappedUse& use) {
  return {.name = transport_name,
          .prepare =
              [mount, flow = name.name(), use] {
                return [=](bool far) -> std::unique_ptr<Side> {
                  if (far && use.two_users) {
                    become_nobody();
                  }
                  flowfs_handle* const handle =
                      far ? flowfs_accept(mount.c_str(), flow.c_str(), use.flags, kPatienceUs)
                          : flowfs_dial(mount.c_str(), flow.c_str(), use.flags, kPatienceUs);
                  if (use.in_place) {
                    return std::make_unique<InPlaceSide>(handle, use);
                  }
                  return std::make_unique<MappedSide>(handle, use);
                };
              },
          .spins = (use.flags & FLOWFS_SPIN_ALWAYS) != 0,
          .speed = use.speed};
}

}  // namespace flowfs::bench
