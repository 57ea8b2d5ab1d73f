/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Echoes what any number of clients send, in one thread that also could wait for other descriptors;
 * ends when CLIENTS of them have come and gone: epoll_server NAME CLIENTS [MOUNT] */
#include <errno.h>
#include <flowfs/flowfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

static char buffer[1 << 20];
static const char* name;
static const char* mount;
static int epoll;

/* A handle that is pending until the next client comes. Its descriptor is writable when it has. */
static flowfs_handle* await_client(void) {
  flowfs_handle* flow = flowfs_accept(mount, name, 0, 0);
  if (flow != NULL) {
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = flow};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, flowfs_fd(flow), &event) != 0) {
      flowfs_close(flow);
      return NULL;
    }
  }
  return flow;
}

static int serve_from_now_on(flowfs_handle* flow) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = flow};
  return epoll_ctl(epoll, EPOLL_CTL_MOD, flowfs_fd(flow), &event);
}

/* Until there is nothing more: a descriptor is only sure to wake after EAGAIN. 0: the client has
 * gone. A client that does not read for a second is not waited for any longer. */
static int serve(flowfs_handle* flow) {
  ssize_t got;
  while ((got = flowfs_recv(flow, buffer, sizeof buffer, 0)) > 0) {
    if (flowfs_send(flow, buffer, (size_t)got, 1000000) != 0) {
      return 0;
    }
  }
  return got < 0 && errno == EAGAIN;
}

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    fputs("usage: epoll_server NAME CLIENTS [MOUNT]\n", stderr);
    return 2;
  }
  name = argv[1];
  mount = argc > 3 ? argv[3] : NULL;
  int left = atoi(argv[2]);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  flowfs_handle* next = await_client();
  while (next != NULL && left > 0) {
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) != 1) {
      continue;
    }
    flowfs_handle* flow = event.data.ptr;
    if (flow == next) {
      if (serve_from_now_on(flow) != 0) {
        break;
      }
      next = await_client();
    }
    if (!serve(flow)) {
      flowfs_close(flow); /* which takes it out of the epoll set, too */
      --left;
    }
  }
  if (left > 0) {
    perror("epoll_server");
    return 1;
  }
  flowfs_close(next);
  return 0;
}
