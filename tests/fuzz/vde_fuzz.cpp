// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as the request of a VDE client: refused for a reason, or an absolute path that an
// answer can hold, and a description of plain text.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "bus/vde_request.hpp"

namespace {

namespace bus = flowfs::bus;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

bool is_reason(int error) {
  return error == EINVAL || error == EPROTONOSUPPORT || error == EOPNOTSUPP;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto request = bus::parse_vde_request(bytes);
  if (!request) {
    require(is_reason(request.error().error));
    return 0;
  }
  require(size >= bus::kVdeLeastRequest && size <= bus::kVdeMostRequest);
  require(request->socket.starts_with('/') && request->socket.find('\0') == std::string::npos);
  require(request->description.size() <= bus::kVdeLongestDescription);
  require(std::ranges::all_of(request->description, [](char c) { return c >= ' ' && c <= '~'; }));
  // What is answered with a path that came in has that path in it, unless there is no place for the
  // byte that ends it.
  const auto answer = bus::format_vde_answer(request->socket);
  if (answer) {
    require(std::ranges::equal(std::span(*answer).subspan(2).first(request->socket.size()),
                               std::as_bytes(std::span(request->socket))));
  } else {
    require(request->socket.size() == sizeof(sockaddr_un::sun_path));
  }
  return 0;
}
