// SPDX-License-Identifier: BSD-3-Clause
// Keys from secrets (RFC 5869), and hashes of transcripts.
//
// Threads: any, as there is no state.
// Errors: EINVAL: no such digest, or more bytes wanted than HKDF gives (255 of its hashes).
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "auth/algorithms.hpp"
#include "auth/bytes.hpp"
#include "base/result.hpp"

namespace flowfs::auth {

// Extract and expand: `size` bytes from `key`, bound to `salt` and to what they are for.
Result<Secret> hkdf(Digest digest, View key, View salt, View info, std::size_t size);
Result<Secret> hkdf(Digest digest, View key, View salt, std::string_view info, std::size_t size);

// The hash of the parts, one behind the other.
Result<Bytes> hash(Digest digest, std::initializer_list<View> parts);

}  // namespace flowfs::auth
