// SPDX-License-Identifier: BSD-3-Clause
// The ends of this process, so that a forked child can let go of them.
//
// Threads: any.
#pragma once

namespace flowfs::lib {

class End;

void remember(End& end);
void forget(End& end);

}  // namespace flowfs::lib
