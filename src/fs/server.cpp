// SPDX-License-Identifier: BSD-3-Clause
#include "fs/server.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "flowfs/wire.h"
#include "fs/metrics.hpp"
#include "fs/session.hpp"
#include "fs/tree.hpp"

namespace flowfs::fs {

class Server::Impl {
 public:
  Impl(Loop& loop, registry::Registry& registry, registry::Users& users)
      : loop_(loop),
        registry_(registry),
        users_(users),
        tree_(loop, registry, users,
              {.version = [this] { return version_text(); },
               .metrics = [this] { return metrics_text(); }}) {}

  Status mount(const Options& options, std::function<void()> on_gone) {
    tree_.want_passthrough(options.passthrough && options.passthrough_wanted);
    tree_.offer_memory({.path = options.memory_socket, .to_others = options.allow_other});
    tree_.offer_vde(options.vde_folder);
    passthrough_wanted_ = options.passthrough_wanted;
    direct_ = options.direct;
    tree_.set_hot_ring(options.hot_ring_bytes);
    tree_.set_security(options.security);
    tree_.set_direct(options.direct);
    tree_.set_pools(options.pools);
    tree_.set_longest_message(options.longest_message_bytes);
    tree_.set_name_defaults(options.name_defaults);
    for (const DeclaredName& declared : options.names) {
      if (Status status = tree_.declare(declared); !status) {
        return status;
      }
    }
    for (const DeclaredBus& declared : options.buses) {
      if (Status status = tree_.declare(declared); !status) {
        return status;
      }
    }
    tree_.drain_effects();
    auto session = Session::mount(loop_, tree_, users_, options, std::move(on_gone));
    if (!session) {
      return std::unexpected(session.error());
    }
    session_ = std::move(*session);
    tree_.set_session(session_->raw());
    return {};
  }

  void reconfigure(const Options& options) {
    tree_.set_name_defaults(options.name_defaults);
    direct_ = options.direct;
    tree_.set_direct(options.direct);
    tree_.set_pools(options.pools);
    if (session_) {
      session_->throttle().set_rate(options.requests_per_second);
    }
    for (const DeclaredName& declared : options.names) {
      if (const Status status = tree_.declare(declared); !status) {
        log::error("cannot make a name: name={} error=\"{}\"", declared.name,
                   status.error().message());
      }
    }
    for (const DeclaredBus& declared : options.buses) {
      if (const Status status = tree_.declare(declared); !status) {
        log::error("cannot make a bus: bus={} error=\"{}\"", declared.name,
                   status.error().message());
      }
    }
    tree_.drain_effects();
  }

  void shutdown() {
    if (session_) {
      tree_.abort_all(ECONNABORTED);
      tree_.set_session(nullptr);
      session_.reset();
    }
  }

  [[nodiscard]] bool passthrough() const { return tree_.passthrough(); }

 private:
  std::string version_text() const {
    return fmt::format(
        "flowfs {}\ntree {}\nlayout {}\npassthrough {}\nsocket {}\ndirect {}\nfutex {}\n"
        "libfuse {}\nliburing {}\n",
        FLOWFS_VERSION, kTreeVersion, FLOWFS_LAYOUT_VERSION, passthrough_word(),
        tree_.hands_out_memory() ? "yes" : "no", direct_ ? "yes" : "no",
        loop_.futex_in_ring() ? "io_uring" : "threads", fuse_pkgversion(), Loop::ring_version());
  }

  std::string metrics_text() const {
    return format_metrics(tree_, registry_, users_,
                          {.held_back = session_ ? session_->throttle().held_back() : 0,
                           .out_of_memory = session_ ? session_->out_of_memory() : 0});
  }

  [[nodiscard]] std::string_view passthrough_word() const {
    if (passthrough()) {
      return "yes";
    }
    return passthrough_wanted_ ? "no" : "off";
  }

  static constexpr int kTreeVersion = 1;  // of the files and their meaning

  Loop& loop_;
  registry::Registry& registry_;
  registry::Users& users_;
  Tree tree_;
  bool passthrough_wanted_ = true;
  bool direct_ = true;
  std::unique_ptr<Session> session_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { impl_->shutdown(); }

Result<std::unique_ptr<Server>> Server::mount(Loop& loop, registry::Registry& registry,
                                              registry::Users& users, const Options& options,
                                              std::function<void()> on_gone) {
  auto impl = std::make_unique<Impl>(loop, registry, users);
  if (Status status = impl->mount(options, std::move(on_gone)); !status) {
    return std::unexpected(status.error());
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::reconfigure(const Options& options) { impl_->reconfigure(options); }

void Server::shutdown() { impl_->shutdown(); }

bool Server::passthrough_in_use() const { return impl_->passthrough(); }

}  // namespace flowfs::fs
