// SPDX-License-Identifier: BSD-3-Clause
// What the service manager is told (sd_notify), and the one line a person waits for.
#pragma once

#include <string_view>

namespace flowfs::daemon {

// READY=1, and `flowfsd: ready at DIR` on stderr, which is there at every log level.
void notify_ready(std::string_view mount_point);
// After a reload: READY=1 alone.
void notify_reloaded();
// RELOADING=1 with the time that Type=notify-reload asks for.
void notify_reloading();
void notify_stopping();

}  // namespace flowfs::daemon
