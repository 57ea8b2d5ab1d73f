// SPDX-License-Identifier: BSD-3-Clause
#include "fs/vde_switch.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include "bus/vde_request.hpp"
#include "fs/client_socket.hpp"

namespace flowfs::fs {
namespace {

constexpr int kBacklog = 128;
constexpr std::size_t kMostName = 63;  // as of other ports

// The first word of what a client says of itself: `vdeplug:`, of much more.
std::string name_from(std::string_view description) {
  const std::string_view word = description.substr(0, description.find(' '));
  return std::string(word.substr(0, std::min(word.find(':'), kMostName)));
}

}  // namespace

Result<std::unique_ptr<VdeSwitch>> VdeSwitch::make(VdeSurroundings& around, LiveBus& live,
                                                   const std::string& path) {
  auto descriptor = around.files.reserve(around.buses.registry().find(live.id)->payer);
  if (!descriptor) {
    return std::unexpected(descriptor.error());
  }
  auto folder = VdeFolder::make(path);
  if (!folder) {
    return std::unexpected(folder.error());
  }
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno("socket");
  }
  if (const auto bound = (*folder)->bind(socket, "ctl"); !bound) {
    return std::unexpected(bound.error());
  }
  if (::listen(socket.get(), kBacklog) != 0) {
    return fail_errno("listen");
  }
  return std::unique_ptr<VdeSwitch>(
      new VdeSwitch(around, live, std::move(*descriptor), std::move(*folder), std::move(socket)));
}

VdeSwitch::VdeSwitch(VdeSurroundings& around, LiveBus& live, registry::Charge descriptor,
                     std::unique_ptr<VdeFolder> folder, Fd socket)
    : around_(around),
      live_(live),
      descriptor_(std::move(descriptor)),
      folder_(std::move(folder)),
      listener_(around.loop, std::move(socket),
                [this](Fd connection, const ucred& peer) { admit(std::move(connection), peer); }) {}

void VdeSwitch::admit(Fd socket, const ucred& peer) {
  around_.counters.asked(Op::vde);
  const registry::Rights rights = around_.rights(
      live_.id, {.uid = peer.uid, .gid = peer.gid, .groups = groups_of(socket.get())});
  if (!rights.receive && !rights.send) {
    refuse(EACCES);
    return;
  }
  auto descriptor = around_.files.reserve(peer.uid);
  if (!descriptor) {
    refuse(descriptor.error().error);
    return;
  }
  const Place place = connections_.emplace(connections_.end());
  place->socket = std::move(socket);
  place->who = {peer.uid, peer.gid, peer.pid};
  place->rights = rights;
  place->descriptor = std::move(*descriptor);
  place->watch =
      around_.loop.watch(place->socket.get(), POLLIN, [this, place](short) { serve(place); });
  place->end = around_.loop.timer([this, place] {
    if (!place->port) {
      refuse(ETIMEDOUT);
    }
    connections_.erase(place);
  });
  place->end.arm(Clock::now() + kPatience);
}

void VdeSwitch::serve(Place connection) {
  std::array<std::byte, bus::kVdeMostRequest + 1> bytes{};  // so that what is too long shows
  const ssize_t got = ::recv(connection->socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (got > 0 && !connection->port) {
    const auto part = std::span(bytes).first(static_cast<std::size_t>(got));
    connection->request.insert(connection->request.end(), part.begin(), part.end());
    if (connection->request.size() < bus::kVdeLeastRequest) {
      return;
    }
    const Status plugged = plug(connection);
    if (plugged) {
      return;
    }
    refuse(plugged.error().error);
  } else if (got > 0) {
    refuse(EINVAL);  // there is no more that a client could ask for
  }
  connections_.erase(connection);
}

Status VdeSwitch::plug(Place connection) {
  auto request = bus::parse_vde_request(connection->request);
  if (!request) {
    return std::unexpected(request.error());
  }
  auto descriptor = around_.files.reserve(connection->who.uid);
  if (!descriptor) {
    return std::unexpected(descriptor.error());
  }
  auto socket = connect_to_client(request->socket, connection->who.uid, folder_->path());
  if (!socket) {
    return std::unexpected(socket.error());
  }
  // Not from inside the port, nor from inside the bus.
  auto over = [connection] { connection->end.arm(Clock::now()); };
  auto port = std::make_unique<VdePort>(around_.loop, around_.buses, around_.counters,
                                        around_.buffer, std::move(*socket), std::move(over));
  if (Status joined = port->join(live_, connection->who, connection->rights,
                                 name_from(request->description), *folder_);
      !joined) {
    return joined;
  }
  const auto answer = bus::format_vde_answer(port->path());
  if (!answer) {
    return std::unexpected(answer.error());
  }
  if (::send(connection->socket.get(), answer->data(), answer->size(),
             MSG_DONTWAIT | MSG_NOSIGNAL) != static_cast<ssize_t>(answer->size())) {
    return fail_errno("answering a VDE client");
  }
  connection->end.disarm();
  connection->request.clear();
  connection->data_descriptor = std::move(*descriptor);
  connection->port = std::move(port);
  return {};
}

}  // namespace flowfs::fs
