// SPDX-License-Identifier: BSD-3-Clause
// OpenSSL's objects of certificates as move-only values. Like evp.hpp for sources of this layer
// alone.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <string_view>

#include "auth/evp.hpp"

namespace flowfs::auth {

using BioPtr = std::unique_ptr<BIO, FreedBy<BIO_free_all>>;
using CrlPtr = std::unique_ptr<X509_CRL, FreedBy<X509_CRL_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreedBy<GENERAL_NAMES_free>>;
using StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, FreedBy<X509_STORE_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, FreedBy<X509_free>>;

// Reads `text`, which has to outlive it.
BioPtr text_bio(std::string_view text);

// What has been written to one in memory, as long as nothing more is.
std::string_view content_of(BIO* bio);

// Stands in for the prompt that OpenSSL would show, and remembers in the bool that `asked` points
// to that it wanted to.
int refuse_password(char* buffer, int size, int writing, void* asked);

// Seconds since the epoch; 0 where it is no time.
std::time_t in_seconds(const ASN1_TIME* time);

// What OpenSSL queues up as errors in a scope is an answer there and nobody's error afterwards.
class ErrorMark {
 public:
  ErrorMark() { ERR_set_mark(); }
  ~ErrorMark() { ERR_pop_to_mark(); }
  ErrorMark(const ErrorMark&) = delete;
  ErrorMark& operator=(const ErrorMark&) = delete;
};

}  // namespace flowfs::auth
