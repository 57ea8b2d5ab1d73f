// SPDX-License-Identifier: BSD-3-Clause
// OpenSSL alone, as `openssl speed` runs it: what encrypted flows are measured beside.
#pragma once

#include <cstddef>

namespace flowfs::bench {

// Bytes a second of a cipher: an initialisation vector, the message in its place, the end.
double bare_cipher(const char* cipher, std::size_t bytes, std::size_t messages);

// Microseconds of what a handshake with Ed25519 and X25519 cannot do without, for both its sides:
// two keys made and two secrets derived; a signature made; that and the certificate's checked.
double bare_handshake();

}  // namespace flowfs::bench
