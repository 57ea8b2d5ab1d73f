// SPDX-License-Identifier: BSD-3-Clause
#include "cli/serve_report.hpp"

#include "cli/key_value.hpp"

namespace flowfs::cli {
namespace {

std::string_view name_of(ServeRole role) {
  switch (role) {
    case ServeRole::sink:
      return "sink";
    case ServeRole::source:
      return "source";
    case ServeRole::echo:
      break;
  }
  return "echo";
}

}  // namespace

void ServeReport::serving() const {
  if (common_.json) {
    print_json({{"type", "serving"}, {"name", options_.name}, {"role", name_of(options_.role)}});
  } else {
    print_text(fmt::format("serving {} as {}\n", options_.name, name_of(options_.role)));
  }
}

void ServeReport::up(std::uint64_t flow) const {
  if (!options_.verbose) {
    return;
  }
  std::string who;
  if (const auto text = read_attribute(common_.path(fmt::format("flows/{}/peer", flow)))) {
    const KeyValues peer = KeyValues::parse_lines(*text);
    const auto uid = peer.number("uid");
    who = fmt::format(": {}, pid {}", uid ? user_name(static_cast<uid_t>(*uid)) : "?",
                      peer.find("pid").value_or("?"));
  }
  complain(fmt::format("flow {} is up{}", flow, who));
}

void ServeReport::end(std::uint64_t flow, const Traffic& traffic, int error) {
  ++ended_;
  messages_ += traffic.messages;
  bytes_ += traffic.bytes;
  if (common_.json) {
    nlohmann::ordered_json line{
        {"type", "flow"}, {"flow", flow}, {"messages", traffic.messages}, {"bytes", traffic.bytes}};
    if (options_.numbered && options_.role == ServeRole::sink) {
      line["lost"] = traffic.order.lost();
      line["out_of_order"] = traffic.order.disordered();
    }
    if (error != 0) {
      line["error"] = errno_in_words(error);
    }
    print_json(line);
  }
  if (!traffic.order.good()) {
    in_order_ = false;
    complain(fmt::format("flow {}: {} messages lost, {} out of order", flow, traffic.order.lost(),
                         traffic.order.disordered()));
  }
  if (options_.verbose) {
    complain(fmt::format("flow {} has ended: {} messages, {} bytes", flow, traffic.messages,
                         traffic.bytes));
  }
}

void ServeReport::summary() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  if (common_.json) {
    print_json({{"type", "summary"},
                {"name", options_.name},
                {"role", name_of(options_.role)},
                {"flows", ended_},
                {"messages", messages_},
                {"bytes", bytes_},
                {"elapsed_ms", seconds * 1e3}});
  } else {
    print_text(fmt::format("{} flows, {} messages, {} bytes in {:.1f} s\n", ended_, messages_,
                           bytes_, seconds));
  }
}

}  // namespace flowfs::cli
