// SPDX-License-Identifier: BSD-3-Clause
// What a mapped end of an encrypted flow seals and opens with, in its own process (docs/oap.md).
//
// Threads: `sealer` the one that sends, `opener` the one that receives.
// Errors: of take_key(): those of open and read, ENOKEY it was taken already; EPROTO not a key.
// Owns: the secrets, which are zeroed with it.
#pragma once

#include <memory>
#include <string>

#include "auth/record.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"

namespace flowfs::lib {

struct SealedFlow {
  auth::RecordSealer sealer;
  auth::RecordOpener opener;
};

// Reads flows/ID/key, which gives it once.
Result<std::unique_ptr<SealedFlow>> take_key(const std::string& path);
// `limits`: but for epochs, which the key says.
Result<std::unique_ptr<SealedFlow>> seal_with(const flowfs_key& key,
                                              const auth::RekeyLimits& limits = {});

}  // namespace flowfs::lib
