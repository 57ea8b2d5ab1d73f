# SPDX-License-Identifier: BSD-3-Clause
"""Trial 7 as load: while one user, or eight, do one thing as fast as they can, another's flow goes on.

What is asserted is that every message arrives and that the storm was there meanwhile; how fast, with it
and without, is measured.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import time

import pytest
from figures import record
from fixtures import long_run
from harness import Name
from procs import Child, wait_for

VICTIM = 61310
STORMERS = [61320 + number for number in range(8)]
ROUND_TRIPS = 5_000 if long_run() else 300
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


# --- what one process of the storm does, again and again -----------------------------------------

def attributes(_daemon, name):
    fd = os.open(name.file("mtu"), os.O_RDONLY)
    while True:
        os.pread(fd, 100, 0)
        yield


def stats(_daemon, name):
    while True:
        os.stat(name.dial)
        yield


def listings(daemon, _name):
    while True:
        os.listdir(daemon.path("names"))
        yield


def missing_names(daemon, _name):
    while True:
        os.path.exists(daemon.path("names", "nobody"))
        yield


def opens(daemon, _name):
    while True:
        os.close(os.open(daemon.path("version"), os.O_RDONLY))
        yield


def dials(_daemon, name):
    while True:
        with contextlib.suppress(OSError):
            os.close(os.open(name.dial, NONBLOCK))
        yield


def names(daemon, _name):
    path = daemon.path("names", f"storm{os.getpid()}")
    while True:
        os.mkdir(path)
        os.rmdir(path)
        yield


def locks(_daemon, name):
    fd = os.open(name.file("backlog"), os.O_RDONLY)
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
        yield


def long_messages(daemon, _name):
    own = daemon.name(f"storm{os.getpid()}")
    os.mkdir(own.path)
    client, server = own.pair()
    while True:
        os.write(client, b"x" * 900_000)
        os.read(server, 1_000_000)
        yield


def unread_events(daemon, _name):
    """Many streams that nobody reads, and news for all of them."""
    fds = [os.open(daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK) for _ in range(200)]
    for _ in names(daemon, _name):
        yield fds


STORMS = [attributes, stats, listings, missing_names, opens, dials, names, locks, long_messages,
          unread_events]


class Storm:
    """A process of each uid that does the same without a pause."""

    def __init__(self, what, uids, daemon, name):
        self._counts = mmap.mmap(-1, 8 * len(uids))
        self._uids = uids
        self.children = [Child(self._rage, what, place, daemon, name, uid=uid)
                         for place, uid in enumerate(uids)]
        self.wait_for_more()

    def _rage(self, what, place, daemon, name):
        for count, _ in enumerate(what(daemon, name), 1):
            struct.pack_into("=Q", self._counts, 8 * place, count)

    def counts(self):
        return struct.unpack(f"={len(self._uids)}Q", self._counts)

    def wait_for_more(self):
        """Until each has done it once more."""
        before = self.counts()

        def each_did():
            for child in self.children:
                if child.finished(0):
                    child.result()  # raises what it died of
            return all(now > then for now, then in zip(self.counts(), before))
        wait_for(each_did, "each of the storm at it", 20)


# --- what the other one does ---------------------------------------------------------------------

def round_trips(name):
    """Messages to a server and back; round trips a second."""
    serving = name.open_accept(NONBLOCK)
    client = name.open_dial()
    os.set_blocking(serving, True)

    def echo():
        for _ in range(ROUND_TRIPS):
            os.write(serving, os.read(serving, 100))
    server = Child(echo, keep=[serving])
    os.close(serving)
    start = time.monotonic()
    for number in range(ROUND_TRIPS):
        os.write(client, b"%d" % number)
        assert os.read(client, 100) == b"%d" % number
    rate = ROUND_TRIPS / (time.monotonic() - start)
    os.close(client)
    server.result(60)
    return rate


@pytest.fixture
def mine(daemon):
    """A name of the victim."""
    made = Name(daemon, "mine")
    os.mkdir(made.path)
    os.chown(made.path, VICTIM, VICTIM)
    for file in (made.accept, made.dial):
        os.chown(file, VICTIM, VICTIM)
    return made


@pytest.mark.deadline(600 if long_run() else 120)
@pytest.mark.parametrize("stormers", [1, 8])
@pytest.mark.parametrize("what", STORMS, ids=lambda what: what.__name__)
def test_a_flow_goes_on_in_a_storm_of(daemon, mine, open_name, what, stormers):
    alone = Child(round_trips, mine, uid=VICTIM).result(120)
    storm = Storm(what, STORMERS[:stormers], daemon, open_name)
    beside = Child(round_trips, mine, uid=VICTIM).result(120)
    storm.wait_for_more()
    record(f"round trips/s beside {stormers} in a storm of {what.__name__}",
           alone=alone, beside=beside, kept=beside / alone)
