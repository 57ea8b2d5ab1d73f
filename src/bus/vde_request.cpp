// SPDX-License-Identifier: BSD-3-Clause
#include "bus/vde_request.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace flowfs::bus {
namespace {

// The first bytes of every request, of any version that is still spoken.
struct Start {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t type;  // 0: any port; the upper 24 bits: the number of one
};
static_assert(sizeof(Start) + sizeof(sockaddr_un) == kVdeLeastRequest);

template <typename T>
T take(std::span<const std::byte>& bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}

// Up to the first zero, or all of it.
std::string_view text_of(std::span<const char> characters) {
  const std::string_view all(characters.data(), characters.size());
  return all.substr(0, all.find('\0'));
}

}  // namespace

Result<VdeRequest> parse_vde_request(std::span<const std::byte> bytes) {
  if (bytes.size() < kVdeLeastRequest || bytes.size() > kVdeMostRequest) {
    return fail(EINVAL, "length of a VDE request");
  }
  const auto start = take<Start>(bytes);
  if (start.magic != kVdeMagic) {
    return fail(EINVAL, "not a VDE request");
  }
  if (start.version != kVdeVersion) {
    return fail(EPROTONOSUPPORT, "version of a VDE request");
  }
  if (start.type != 0) {
    return fail(EOPNOTSUPP, "VDE request for a certain port");
  }
  const auto address = take<sockaddr_un>(bytes);
  VdeRequest request{.socket = std::string(text_of(address.sun_path)), .description = {}};
  if (address.sun_family != AF_UNIX || !request.socket.starts_with('/')) {
    return fail(EINVAL, "data socket of a VDE client");
  }
  const std::string_view said(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::ranges::copy_if(said.substr(0, said.find('\0')), std::back_inserter(request.description),
                       [](char c) { return c >= ' ' && c <= '~'; });
  return request;
}

Result<std::array<std::byte, sizeof(sockaddr_un)>> format_vde_answer(std::string_view path) {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) {
    return fail(ENAMETOOLONG, "path of a data socket");
  }
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, std::begin(address.sun_path));
  std::array<std::byte, sizeof address> bytes{};
  std::memcpy(bytes.data(), &address, sizeof address);
  return bytes;
}

}  // namespace flowfs::bus
