// SPDX-License-Identifier: BSD-3-Clause
// Where the configuration and the mount are when nothing says otherwise. Pure: the environment and
// the existence of files are arguments.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace flowfs::daemon {

struct Environment {
  std::function<std::optional<std::string>(const char*)> variable;
  std::function<bool(const std::string&)> exists;
};

Environment system_environment();

// The configuration file to read; empty where there is none, which is allowed.
//   root      /etc/flowfs/flowfsd.toml
//   rootless  $XDG_CONFIG_HOME/flowfs/flowfsd.toml, with $HOME/.config for an unset variable
std::string default_config(bool rootless, const Environment& environment);

// The folder of certificates, keys and policies. Empty where it cannot be said: rootless without
// either variable.
//   root      /etc/flowfs/security
//   rootless  beside the configuration file
std::string default_security(bool rootless, const Environment& environment);

// Empty where it cannot be said: rootless without $XDG_RUNTIME_DIR.
//   root      /run/flowfs
//   rootless  $XDG_RUNTIME_DIR/flowfs
std::string default_mount(bool rootless, const Environment& environment);

}  // namespace flowfs::daemon
