/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Copies standard input to the standard output of another process:
 *   file_copy receive NAME [MOUNT] > there &  file_copy send NAME [MOUNT] < here */
#include <flowfs/flowfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static char buffer[64 * 1024];

static int send_all(flowfs_handle* flow) {
  size_t got;
  while ((got = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
    if (flowfs_send(flow, buffer, got, FLOWFS_FOREVER) != 0) {
      return -1;
    }
  }
  return ferror(stdin) ? -1 : flowfs_shutdown(flow, SHUT_WR);
}

static int receive_all(flowfs_handle* flow) {
  ssize_t got;
  while ((got = flowfs_recv(flow, buffer, sizeof buffer, FLOWFS_FOREVER)) > 0) {
    if (fwrite(buffer, 1, (size_t)got, stdout) != (size_t)got) {
      return -1;
    }
  }
  return got < 0 || fflush(stdout) != 0 ? -1 : 0;
}

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4 || (strcmp(argv[1], "send") != 0 && strcmp(argv[1], "receive") != 0)) {
    fputs("usage: file_copy send|receive NAME [MOUNT]\n", stderr);
    return 2;
  }
  const int sends = strcmp(argv[1], "send") == 0;
  const char* mount = argc > 3 ? argv[3] : NULL;
  flowfs_handle* flow = sends ? flowfs_dial(mount, argv[2], 0, FLOWFS_FOREVER)
                              : flowfs_accept(mount, argv[2], 0, FLOWFS_FOREVER);
  if (flow == NULL || (sends ? send_all(flow) : receive_all(flow)) != 0) {
    perror("file_copy");
    return 1;
  }
  flowfs_close(flow);
  return 0;
}
