// SPDX-License-Identifier: BSD-3-Clause
// Certificates as the `openssl` command makes them, in a folder that goes with the test suite.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace flowfs::auth {

class OpensslCommand {
 public:
  OpensslCommand() {
    std::string pattern = testing::TempDir() + "flowfs-openssl-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~OpensslCommand() { std::filesystem::remove_all(folder_); }
  OpensslCommand(const OpensslCommand&) = delete;
  OpensslCommand& operator=(const OpensslCommand&) = delete;

  // Runs a script of the shell in the folder; what it prints is shown where it fails.
  [[nodiscard]] bool run(const std::string& script) const {
    write("script", "set -e\numask 022\ncd '" + folder_ + "'\n" + kFunctions + script);
    const std::string command = "bash '" + path("script") + "' >'" + path("output") + "' 2>&1";
    const bool done = std::system(command.c_str()) == 0;
    EXPECT_TRUE(done) << script << '\n' << read("output");
    return done;
  }
  void write(const std::string& file, const std::string& text) const {
    std::ofstream(path(file)) << text;
  }
  [[nodiscard]] std::string read(const std::string& file) const {
    std::ostringstream text;
    text << std::ifstream(path(file)).rdbuf();
    return text.str();
  }
  [[nodiscard]] std::string path(const std::string& file) const { return folder_ + '/' + file; }

 private:
  // key FILE ALGORITHM...: a private key.
  // authority NAME: NAME.pem, which has signed itself, valid for 100 days.
  // certificate NAME ISSUER EXTENSIONS [OPTIONS...]: NAME.pem for NAME.key (made where there is
  // none), with a common name of NAME and a line per comma-free extension, valid for 10 days.
  // lists NAME: NAME.crl of what `revoke NAME FILE` took back.
  static constexpr const char* kFunctions = R"(
key() { file=$1; shift; openssl genpkey -quiet -algorithm "$@" -out "$file" 2>/dev/null ||
        openssl genpkey -algorithm "$@" -out "$file"; }
authority() {
  [ -f "$1.key" ] || key "$1.key" EC -pkeyopt ec_paramgen_curve:P-256
  openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 100 -out "$1.pem" -config /dev/stdin <<END
[req]
distinguished_name = name
x509_extensions = extensions
[name]
[extensions]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
END
}
certificate() {
  name=$1 issuer=$2 extensions=$3; shift 3
  [ -f "$name.key" ] || key "$name.key" EC -pkeyopt ec_paramgen_curve:P-256
  openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
  printf '%b' "$extensions" >"$name.ext"
  openssl x509 -req -in "$name.csr" -CA "$issuer.pem" -CAkey "$issuer.key" -CAcreateserial \
    -days 10 -extfile "$name.ext" -out "$name.pem" "$@"
}
configure() {
  touch "$1.index"; [ -f "$1.number" ] || echo 01 >"$1.number"
  printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s.index\ncrlnumber=%s.number\ndefault_md=sha256\n' \
    "$1" "$1" >"$1.cnf"
}
revoke() { configure "$1"; openssl ca -config "$1.cnf" -cert "$1.pem" -keyfile "$1.key" -revoke "$2"; }
lists() {
  configure "$1"
  openssl ca -config "$1.cnf" -cert "$1.pem" -keyfile "$1.key" -gencrl -crldays 20 -out "$1.crl"
}
)";

  std::string folder_;
};

}  // namespace flowfs::auth
