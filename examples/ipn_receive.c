/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Prints what is sent on an IPN bus, with the messages' lengths:
 *   LD_PRELOAD=libflowfs-ipn.so.0 ipn_receive [PATH [COUNT]] */
#include <flowfs/af_ipn.h>
#include <stdio.h>
#include <stdlib.h>
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
  long left = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
  int bus = socket(AF_IPN, SOCK_RAW, IPN_BROADCAST);
  if (bus < 0) {
    return fail("socket");
  }
  if (shutdown(bus, SHUT_WR) != 0) {
    return fail("shutdown");
  }
  if (connect(bus, (struct sockaddr*)&address, sizeof address) != 0) {
    return fail("connect");
  }
  char message[4096];
  ssize_t bytes = 1;
  while (left-- != 0 && (bytes = recv(bus, message, sizeof message, 0)) > 0) {
    printf("%zd %.*s", bytes, (int)bytes, message);
    fflush(stdout);
  }
  close(bus);
  return bytes < 0 ? fail("recv") : 0;
}
