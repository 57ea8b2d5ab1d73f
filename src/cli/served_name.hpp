// SPDX-License-Identifier: BSD-3-Clause
// What the two kinds of server share: the name for as long as it is served, and the signals that
// end a server.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.hpp"
#include "cli/commands.hpp"

namespace flowfs::cli {

// Ends that wait in `accept` at once, so that the next client finds one while the last is being
// served.
inline constexpr std::size_t kWaitingEnds = 4;

// Made where it is missing, and then removed at the end.
class ServedName {
 public:
  ServedName(const Common& common, const std::string& name)
      : common_(common), object_("names/" + name), path_(common.path(object_)) {}

  // False: it complained.
  bool make(std::optional<std::uint32_t> mode);
  int remove();
  // Why no end can wait there.
  void complain_of_accept(int error) const;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& object() const { return object_; }

 private:
  const Common& common_;
  std::string object_;
  std::string path_;
  bool made_ = false;
};

// A descriptor that becomes readable at SIGINT, SIGTERM and SIGHUP, which are blocked from then on,
// in threads started later too. SIGPIPE is ignored: a reader of our output that goes away must not
// keep us from removing the name. Empty: errno says why.
Fd catch_ends();

// serve.cpp and serve_mapped.cpp.
int serve_mapped(const Common& common, const ServeOptions& options, const ServedName& name);

}  // namespace flowfs::cli
