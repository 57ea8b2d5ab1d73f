/* SPDX-License-Identifier: BSD-3-Clause
 * Sound over a bus, 64 samples every 1.33 ms (48 kHz):
 *   audio_periods play BUS PERIODS [MOUNT]
 *   audio_periods listen BUS PERIODS [MOUNT]   until period number PERIODS has come
 */
#include <flowfs/flowfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 64
#define PERIOD_NS (SAMPLES * 1000000000L / 48000)

struct period {
  uint32_t number;
  float samples[SAMPLES];
};

/* A saw tooth: sample after sample a little more. */
static float sample_of(uint32_t period, int place) {
  return (float)((period * SAMPLES + (uint32_t)place) % 100) / 100.0f;
}

static void wait_for_next(struct timespec* when) {
  when->tv_nsec += PERIOD_NS;
  if (when->tv_nsec >= 1000000000L) {
    when->tv_nsec -= 1000000000L;
    ++when->tv_sec;
  }
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, when, NULL) != 0) {
  }
}

static int play(flowfs_handle* bus, uint32_t periods) {
  struct timespec when;
  clock_gettime(CLOCK_MONOTONIC, &when);
  for (uint32_t number = 1; number <= periods; ++number) {
    struct flowfs_space space;
    if (flowfs_loan(bus, sizeof(struct period), FLOWFS_FOREVER, &space) != 0) {
      return -1;
    }
    struct period* out = space.data;
    out->number = number;
    for (int place = 0; place < SAMPLES; ++place) {
      out->samples[place] = sample_of(number, place);
    }
    if (flowfs_commit(&space, sizeof *out, FLOWFS_FOREVER) != 0) {
      return -1;
    }
    wait_for_next(&when);
  }
  return 0;
}

/* A period is copied before it is played: 260 bytes cost less than to find out that they were
 * written over. */
static int listen_to(flowfs_handle* bus, uint32_t periods) {
  struct period in = {0};
  uint32_t next = 1;
  uint32_t missed = 0;
  uint32_t wrong = 0;
  while (next <= periods) {
    if (flowfs_recv(bus, &in, sizeof in, FLOWFS_FOREVER) != sizeof in) {
      return -1;
    }
    missed += in.number - next;
    next = in.number + 1;
    for (int place = 0; place < SAMPLES; ++place) {
      wrong += in.samples[place] != sample_of(in.number, place);
    }
  }
  printf("%u heard, %u missed, %u samples wrong\n", (unsigned)(periods - missed), (unsigned)missed,
         (unsigned)wrong);
  return 0;
}

int main(int argc, char** argv) {
  const int plays = argc > 1 && strcmp(argv[1], "play") == 0;
  if (argc < 4 || argc > 5 || (!plays && strcmp(argv[1], "listen") != 0)) {
    fputs("usage: audio_periods play|listen BUS PERIODS [MOUNT]\n", stderr);
    return 2;
  }
  const uint32_t periods = (uint32_t)strtoul(argv[3], NULL, 10);
  flowfs_handle* bus = flowfs_join(argc == 5 ? argv[4] : NULL, argv[2],
                                   plays ? FLOWFS_SEND_ONLY : FLOWFS_RECEIVE_ONLY);
  if (bus == NULL) {
    perror("audio_periods: join");
    return 1;
  }
  if (!plays) {
    puts("ready");
    fflush(stdout);
  }
  const int done = plays ? play(bus, periods) : listen_to(bus, periods);
  if (done != 0) {
    perror("audio_periods");
  }
  flowfs_close(bus);
  return done == 0 ? 0 : 1;
}
