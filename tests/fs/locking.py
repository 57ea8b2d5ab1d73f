# SPDX-License-Identifier: BSD-3-Clause
"""Locks of the tests: taken here, or by a child that keeps or awaits them."""

import fcntl
import os
import struct

import harness
import procs
import pytest
from harness import close, track
from procs import Child, wait_for

EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38
_FLOCK = "hhqqi4x"


def locked_ranges(daemon):
    return daemon.metrics()[("flowfs_locked_ranges", frozenset())]


@pytest.fixture(autouse=True)
def no_lock_left(daemon, nothing_left):  # pylint: disable=unused-argument
    """No lock outlives its file."""
    yield
    procs.end_children()
    harness.close_tracked()
    wait_for(lambda: locked_ranges(daemon) == 0, "no lock after the test")


@pytest.fixture
def attribute(name):
    """The path of an attribute file."""
    return name.file("backlog")


def opened(path, flags=os.O_RDWR):
    return track(os.open(path, flags))


def record(fd, command, kind, start=0, length=0):
    """fcntl(2) with a record lock; the answer of a question is (kind, start, length, pid)."""
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    kind, _, start, length, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, command, asked))
    return kind, start, length, pid


class Holder:
    """A child that opens the file, takes a lock and keeps it until it is told to go on."""

    def __init__(self, path, take, then=None):
        ready, told = os.pipe()
        awaited, self._gate = os.pipe()
        track(self._gate)
        self.child = Child(self._run, path, take, then, told, awaited, keep=(told, awaited))
        self.pid = self.child.pid
        os.close(told)
        os.close(awaited)
        assert os.read(ready, 1) == b"+", self.child.result()
        os.close(ready)

    @staticmethod
    def _run(path, take, then, told, awaited):
        fd = os.open(path, os.O_RDWR if os.path.isfile(path) else os.O_RDONLY)
        take(fd)
        os.write(told, b"+")
        os.read(awaited, 1)  # end of file
        return then(fd) if then else None

    def open_gate(self):
        close(self._gate)

    def go_on(self):
        self.open_gate()
        return self.child.result()


def taker(function, *args):
    return lambda fd: function(fd, *args)


TAKERS = [taker(fcntl.flock, EX), taker(fcntl.lockf, EX),
          taker(record, OFD_SETLKW, fcntl.F_WRLCK)]
TAKER_NAMES = ["flock", "process", "description"]


def contender(path, take, *args):
    """A child that opens the file and calls `take`; its result says that it got the lock."""
    def run():
        take(os.open(path, os.O_RDWR), *args)
        return os.getpid()
    return Child(run)
