# SPDX-License-Identifier: BSD-3-Clause
"""Requests above a user's rate wait, and nobody else notices (threats.md R7)."""

import errno
import mmap
import os
import struct
import threading
import time

import pytest
from harness import write_text
from procs import Child, as_user, wait_for
from sysc import raises_errno

ALICE, BOB = 61091, 61300
RATE = 100
AT_ONCE = RATE // 10  # what may come in one burst
BURST = 40
STORMERS = 8


@pytest.fixture(scope="module")
def config():
    return f"[limits]\nrequests_per_second = {RATE}\n"


def held_back(daemon):
    return daemon.metrics()["flowfs_throttled_total", frozenset()]


def read_often(path, count):
    fd = os.open(path, os.O_RDONLY)
    values = {os.pread(fd, 100, 0) for _ in range(count)}
    os.close(fd)
    return values


class Storm:
    """Processes of some uids that read an attribute without a pause, and count how often."""

    def __init__(self, path, uids):
        self._counts = mmap.mmap(-1, 8 * len(uids))
        self.children = [Child(self._rage, path, place, uid=uid) for place, uid in enumerate(uids)]

    def _rage(self, path, place):
        fd = os.open(path, os.O_RDONLY)
        count = 0
        while True:
            os.pread(fd, 100, 0)
            count += 1
            struct.pack_into("=Q", self._counts, 8 * place, count)

    def counts(self):
        return list(struct.unpack(f"={len(self.children)}Q", self._counts))

    def wait_held_back(self, daemon):
        before = held_back(daemon)
        wait_for(lambda: held_back(daemon) >= before + 2 * STORMERS, "a storm that is held back")


def allow_no_waiting(daemon, uid, name):
    """Lets no request of a uid wait: what its rate would hold back is refused instead."""
    path = daemon.path("names", name)
    as_user(uid, os.mkdir, path)  # makes the user known
    write_text(daemon.path("users", str(uid), "limits"), "held 0")


def test_what_is_over_the_rate_waits_and_is_answered(daemon, name):
    before = held_back(daemon)
    assert as_user(ALICE, read_often, name.file("mtu"), BURST) == {b"917504\n"}
    assert held_back(daemon) > before


def test_root_is_never_held_back(daemon, name):
    before = held_back(daemon)
    read_often(name.file("mtu"), 500)
    assert held_back(daemon) == before


def test_who_is_held_back_dies_at_once(daemon, name):
    before = held_back(daemon)
    child = Child(read_often, name.file("mtu"), 100_000, uid=ALICE)
    wait_for(lambda: held_back(daemon) > before, "a request that is held back")
    child.assert_dies()


def test_what_would_be_held_back_is_refused_where_no_more_may_wait(daemon, name):
    allow_no_waiting(daemon, 61093, "refused")
    with raises_errno(errno.EDQUOT):
        as_user(61093, read_often, name.file("mtu"), 5 * AT_ONCE)


def test_only_as_many_are_held_back_as_may_wait(daemon, name):
    """Threads of one user, each with a call: some wait their turn, those too many get EDQUOT."""
    as_user(61094, os.mkdir, daemon.path("names", "few"))
    write_text(daemon.path("users", "61094", "limits"), "held 3")

    def read_at_once():
        refused, answered = [], []

        def read():
            try:
                for _ in range(20):
                    answered.append(read_often(name.file("mtu"), 1))
            except OSError as error:
                refused.append(error.errno)
        threads = [threading.Thread(target=read) for _ in range(4 * AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return set(refused), len(answered)
    refused, answered = Child(read_at_once, uid=61094).result(30)
    assert refused == {errno.EDQUOT} and answered >= 1
    assert daemon.usage(61094)["held"] == "0"


@pytest.mark.parametrize("attackers", [[ALICE] * STORMERS, list(range(61100, 61100 + STORMERS))],
                         ids=["one uid", "eight uids"])
def test_who_keeps_to_his_rate_is_not_held_back_by_others(daemon, name, attackers):
    """None of his requests may wait, so each that succeeds was let through at once."""
    storm = Storm(name.file("mtu"), attackers)
    storm.wait_held_back(daemon)
    first = BOB + 100 * len(set(attackers))
    for uid in range(first, first + 20):  # each with a burst of his own
        allow_no_waiting(daemon, uid, f"quiet{uid}")
        assert as_user(uid, read_often, name.file("mtu"), AT_ONCE // 2) == {b"917504\n"}
    assert not any(child.finished(0) for child in storm.children)
    wait_for(lambda: any(daemon.usage(uid)["held"] != "0" for uid in attackers), "the storm held")


def test_no_user_gets_more_than_his_rate(daemon, name):
    """However many processes he has: as many as his burst, and his rate for the time that passed."""
    start = time.monotonic()
    storm = Storm(name.file("mtu"), [61095] * STORMERS)
    storm.wait_held_back(daemon)
    wait_for(lambda: min(storm.counts()) > AT_ONCE, "each process of the storm served")
    done = sum(storm.counts())
    assert done <= AT_ONCE + RATE * (time.monotonic() - start) + STORMERS
