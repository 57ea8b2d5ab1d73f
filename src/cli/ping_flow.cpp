// SPDX-License-Identifier: BSD-3-Clause
#include "cli/ping_flow.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "cli/command.hpp"
#include "cli/lib_flow.hpp"

namespace flowfs::cli {
namespace {

class FileFlow final : public PingFlow {
 public:
  explicit FileFlow(Fd fd) : fd_(std::move(fd)) {}

  ssize_t send(std::span<const std::byte> message) override {
    return write(fd_.get(), message.data(), message.size());
  }
  ssize_t receive(std::span<std::byte> into) override {
    return read(fd_.get(), into.data(), into.size());
  }
  ssize_t receive_within(std::span<std::byte> into, std::chrono::nanoseconds most) override {
    const timespec wait{.tv_sec = most.count() / 1'000'000'000,
                        .tv_nsec = most.count() % 1'000'000'000};
    pollfd poll{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (ppoll(&poll, 1, &wait, nullptr) <= 0) {
      errno = EINTR;
      return -1;
    }
    return receive(into);
  }
  [[nodiscard]] bool is_mapped() const override { return false; }

 private:
  Fd fd_;
};

// libflowfs goes on after a signal, so its waits are cut into slices.
class MappedFlow final : public PingFlow {
 public:
  explicit MappedFlow(LibFlow flow) : flow_(std::move(flow)) {}

  ssize_t send(std::span<const std::byte> message) override {
    return sliced(flowfs_send(flow_.get(), message.data(), message.size(), kSlice.count()));
  }
  ssize_t receive(std::span<std::byte> into) override { return receive_within(into, kSlice); }
  ssize_t receive_within(std::span<std::byte> into, std::chrono::nanoseconds most) override {
    const auto slice = std::min(std::chrono::ceil<std::chrono::microseconds>(most), kSlice);
    return sliced(flowfs_recv(flow_.get(), into.data(), into.size(), slice.count()));
  }
  [[nodiscard]] bool is_mapped() const override { return flowfs_is_mapped(flow_.get()) == 1; }

 private:
  static constexpr std::chrono::microseconds kSlice{10'000};

  static ssize_t sliced(ssize_t answer) {
    if (answer < 0 && errno == ETIMEDOUT) {
      errno = EINTR;
    }
    return answer;
  }

  LibFlow flow_;
};

}  // namespace

Result<std::unique_ptr<PingFlow>> dial_file(const std::string& path,
                                            const std::function<bool()>& stop) {
  Result<Fd> fd = open_file(path, O_RDWR, stop);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  return std::make_unique<FileFlow>(std::move(*fd));
}

Result<std::unique_ptr<PingFlow>> dial_mapped(const std::string& mount, const std::string& name,
                                              const std::function<bool()>& stop) {
  Result<LibFlow> flow = dial_flow(mount, name, 0, stop);
  if (!flow) {
    return std::unexpected(flow.error());
  }
  return std::make_unique<MappedFlow>(std::move(*flow));
}

}  // namespace flowfs::cli
