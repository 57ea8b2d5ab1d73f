// SPDX-License-Identifier: BSD-3-Clause
#include "fs/vde_switches.hpp"

#include <fmt/format.h>

#include <utility>

namespace flowfs::fs {

VdeSwitches::VdeSwitches(Loop& loop, Buses& buses, FileTable& files, RequestCounters& counters,
                         std::function<registry::Rights(registry::BusId, const Caller&)> rights)
    : around_{.loop = loop,
              .buses = buses,
              .files = files,
              .counters = counters,
              .rights = std::move(rights),
              .buffer = {}} {}

Status VdeSwitches::open(const std::string& path) {
  auto folder = VdeFolder::make(path);
  if (!folder) {
    return std::unexpected(folder.error());
  }
  folder_ = std::move(*folder);
  return {};
}

void VdeSwitches::close() {
  for (const auto& [id, vde] : switches_) {
    around_.buses.find(id)->vde.clear();
  }
  switches_.clear();
  folder_.reset();
}

void VdeSwitches::update(registry::BusId id) {
  LiveBus* const live = around_.buses.find(id);
  const bool wanted = folder_ && live != nullptr && live->ethernet;
  if (!wanted) {
    switches_.erase(id);
    if (live != nullptr) {
      live->vde.clear();
    }
    return;
  }
  if (switches_.contains(id)) {
    return;
  }
  // One more than any bus takes, so that what is too long shows.
  buffer_.resize(bus::EthernetBus::kMostFrame + 1);
  around_.buffer = buffer_;
  auto made = VdeSwitch::make(around_, *live,
                              fmt::format("{}/{}", folder_->path(), std::to_underlying(id)));
  if (!made) {
    around_.counters.refused(Op::vde, made.error().error);
    return;
  }
  live->vde = (*made)->path();
  switches_.emplace(id, std::move(*made));
}

std::size_t VdeSwitches::connections() const {
  std::size_t count = 0;
  for (const auto& [id, vde] : switches_) {
    count += vde->connections();
  }
  return count;
}

}  // namespace flowfs::fs
