// SPDX-License-Identifier: BSD-3-Clause
#include "bench_bus.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

#include "processes.hpp"

namespace flowfs::bench {
namespace {

class MemberPart final : public Part {
 public:
  explicit MemberPart(Member member) : member_(std::move(member)) {}

  void send(std::span<const std::byte> message) override {
    if (flowfs_send(member_.get(), message.data(), message.size(), FLOWFS_FOREVER) != 0) {
      die("flowfs_send");
    }
  }
  bool receive(std::span<std::byte> message, Micros patience) override {
    // Only who has to wait looks at the clock.
    ssize_t got = flowfs_recv(member_.get(), message.data(), message.size(), 0);
    if (got < 0 && errno == EAGAIN) {
      got = flowfs_recv(member_.get(), message.data(), message.size(), patience.count());
    }
    if (got < 0 && errno == ETIMEDOUT) {
      return false;
    }
    if (got != static_cast<ssize_t>(message.size())) {
      die("flowfs_recv");
    }
    return true;
  }

 private:
  Member member_;
};

}  // namespace

BenchBus::BenchBus(std::string mount, const std::string& what)
    : mount_(std::move(mount)),
      name_("bench-" + what + "-" + std::to_string(getpid())),
      folder_(mount_ + "/buses/" + name_) {
  if (mkdir(folder_.c_str(), 0700) != 0) {
    die(folder_.c_str());
  }
}

BenchBus::~BenchBus() {
  while (rmdir(folder_.c_str()) != 0 && errno == EBUSY) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

BenchBus& BenchBus::set(const std::string& attribute, const std::string& value) {
  const std::string path = folder_ + "/" + attribute;
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, value.data(), value.size()) < 0) {
    die(path.c_str());
  }
  close(fd);
  return *this;
}

std::uint64_t BenchBus::count(const std::string& key) const {
  std::ifstream file(folder_ + "/stats");
  std::string word;
  std::uint64_t value = 0;
  while (file >> word >> value) {
    if (word == key) {
      return value;
    }
  }
  die("stats of the bus");
}

void BenchBus::wait_for_members(std::size_t members) const {
  while (count("members") != members) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Member join(const BenchBus& bus, unsigned flags) {
  Member member(flowfs_join(bus.mount().c_str(), bus.name().c_str(), flags));
  if (member == nullptr) {
    die("flowfs_join");
  }
  if (flowfs_is_mapped(member.get()) != 1) {
    errno = ENOTSUP;
    die("a mapped member");
  }
  return member;
}

Group bus_members(const std::string& group_name, const BenchBus& bus) {
  return {.name = group_name,
          .prepare = [&bus](const GroupSize& /*size*/) -> OpenPart {
            bus.wait_for_members(0);
            return [&bus](Role role) {
              return std::make_unique<MemberPart>(
                  join(bus, role.sends ? FLOWFS_SEND_ONLY : FLOWFS_RECEIVE_ONLY));
            };
          },
          .speed = 2};
}

}  // namespace flowfs::bench
