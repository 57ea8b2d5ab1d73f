/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sends each line of standard input to everybody on an IPN bus, which it makes where there is none:
 *   LD_PRELOAD=libflowfs-ipn.so.0 ipn_send [PATH [lossless]] */
#include <flowfs/af_ipn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char* what) {
  perror(what);
  return 1;
}

int main(int argc, char** argv) {
  struct sockaddr_un address = {.sun_family = AF_IPN};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", argc > 1 ? argv[1] : "/tmp/sockipn");
  int bus = socket(AF_IPN, SOCK_RAW, IPN_BROADCAST);
  if (bus < 0) {
    return fail("socket");
  }
  if (argc > 2 && strcmp(argv[2], "lossless") == 0) {
    int flags = IPN_FLAG_LOSSLESS;
    int pool = 128;
    if (setsockopt(bus, 0, IPN_SO_FLAGS, &flags, sizeof flags) != 0 ||
        setsockopt(bus, 0, IPN_SO_MSGPOOLSIZE, &pool, sizeof pool) != 0) {
      return fail("setsockopt");
    }
  }
  if (shutdown(bus, SHUT_RD) != 0) {
    return fail("shutdown");
  }
  if (bind(bus, (struct sockaddr*)&address, sizeof address) != 0) {
    return fail("bind");
  }
  if (connect(bus, NULL, 0) != 0) {
    return fail("connect");
  }
  char line[4096];
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (write(bus, line, strlen(line)) < 0) {
      return fail("write");
    }
  }
  close(bus);
  return 0;
}
