// SPDX-License-Identifier: BSD-3-Clause
#include "registry/types.hpp"

namespace flowfs::registry {

std::string_view to_string(FlowState state) {
  switch (state) {
    case FlowState::alloc_pending:
      return "alloc-pending";
    case FlowState::accept_pending:
      return "accept-pending";
    case FlowState::allocated:
      return "allocated";
    case FlowState::dealloc_pending:
      return "dealloc-pending";
    case FlowState::deallocated:
      return "deallocated";
  }
  return "unknown";
}

std::string_view to_string(Balance balance) {
  switch (balance) {
    case Balance::fifo:
      return "fifo";
    case Balance::round_robin:
      return "round-robin";
    case Balance::least_flows:
      return "least-flows";
  }
  return "unknown";
}

std::string_view to_string(Resource resource) {
  switch (resource) {
    case Resource::names:
      return "names";
    case Resource::flows:
      return "flows";
    case Resource::bytes:
      return "bytes";
    case Resource::descriptors:
      return "descriptors";
    case Resource::held:
      return "held";
    case Resource::buses:
      return "buses";
    case Resource::ports:
      return "ports";
  }
  return "unknown";
}

std::string_view to_string(EventKind kind) {
  switch (kind) {
    case EventKind::name_created:
      return "name-created";
    case EventKind::name_removed:
      return "name-removed";
    case EventKind::name_renamed:
      return "name-renamed";
    case EventKind::alias_created:
      return "alias-created";
    case EventKind::alias_removed:
      return "alias-removed";
    case EventKind::flow_waiting:
      return "flow-waiting";
    case EventKind::flow_allocated:
      return "flow-allocated";
    case EventKind::flow_refused:
      return "flow-refused";
    case EventKind::flow_timed_out:
      return "flow-timed-out";
    case EventKind::flow_deallocated:
      return "flow-deallocated";
    case EventKind::bus_created:
      return "bus-created";
    case EventKind::bus_removed:
      return "bus-removed";
    case EventKind::bus_renamed:
      return "bus-renamed";
    case EventKind::bus_join:
      return "join";
    case EventKind::bus_leave:
      return "leave";
    case EventKind::bus_shutdown:
      return "shutdown";
    case EventKind::bus_policy:
      return "policy";
    case EventKind::bus_link:
      return "link";
    case EventKind::bus_shut:
      return "shut";
  }
  return "unknown";
}

}  // namespace flowfs::registry
