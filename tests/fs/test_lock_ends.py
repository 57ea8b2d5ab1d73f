# SPDX-License-Identifier: BSD-3-Clause
"""How holders and waiters of locks end: killed, interrupted, with their file or with the daemon."""

import errno
import fcntl
import os
import signal

import pytest
import sysc
from harness import close
from locking import (EX, TAKER_NAMES, TAKERS, Holder, attribute, contender, locked_ranges,
                     no_lock_left, opened, taker)
from procs import Child, describe, state_of, wait_blocked, wait_for
from sysc import outcome, raises_errno

__all__ = ["attribute", "no_lock_left"]  # fixtures


@pytest.mark.parametrize("take", TAKERS, ids=TAKER_NAMES)
def test_a_killed_holder_gives_its_lock_back(attribute, take):
    holder = Holder(attribute, take)
    waiting = contender(attribute, take)
    wait_blocked(waiting.pid, "flock", "fcntl")
    holder.child.kill(signal.SIGKILL)
    assert waiting.result() == waiting.pid
    holder.child.reap()


@pytest.mark.parametrize("take", TAKERS[:2], ids=TAKER_NAMES[:2])
def test_a_killed_waiter_dies_at_once_and_gets_nothing(daemon, attribute, take):
    holder = Holder(attribute, take)
    waiting = contender(attribute, take)
    wait_blocked(waiting.pid, "flock", "fcntl")
    waiting.assert_dies()
    assert locked_ranges(daemon) == 1
    holder.go_on()
    wait_for(lambda: locked_ranges(daemon) == 0, "the lock of the holder gone")
    assert daemon.usage(0)["held"] == "0"


@pytest.mark.parametrize("take", TAKERS[:2], ids=TAKER_NAMES[:2])
def test_a_signal_ends_the_wait(attribute, take):
    class Signalled(Exception):
        pass

    def run():
        def handler(*_):
            raise Signalled
        signal.signal(signal.SIGUSR1, handler)
        fd = os.open(attribute, os.O_RDWR)
        try:
            take(fd)
        except Signalled:
            return "signalled"
        return "locked"
    fd = opened(attribute)
    take(fd)
    waiting = Child(run)
    wait_blocked(waiting.pid, "flock", "fcntl")
    waiting.kill(signal.SIGUSR1)
    assert waiting.result() == "signalled"


def test_a_stopped_waiter_goes_on_waiting(attribute):
    holder = Holder(attribute, taker(fcntl.flock, EX))
    waiting = contender(attribute, fcntl.flock, EX)
    wait_blocked(waiting.pid, "flock")
    waiting.kill(signal.SIGSTOP)
    wait_for(lambda: state_of(waiting.pid) == "T", f"stopped: {describe(waiting.pid)}")
    waiting.kill(signal.SIGCONT)
    wait_blocked(waiting.pid, "flock")
    holder.go_on()
    assert waiting.result() == waiting.pid


def test_a_lock_goes_with_its_file_after_the_object(daemon):
    gone = daemon.name("gone")
    os.mkdir(gone.path)
    fd = opened(gone.file("backlog"))
    fcntl.flock(fd, EX)
    os.rmdir(gone.path)
    assert locked_ranges(daemon) == 1
    close(fd)
    wait_for(lambda: locked_ranges(daemon) == 0, "the lock gone")


def test_the_end_of_the_daemon_ends_the_waits(fresh_daemon):
    server = fresh_daemon()
    server.start()
    name = server.name("locked")
    os.mkdir(name.path)
    fd = opened(name.file("mtu"))
    fcntl.flock(fd, EX)
    waiting = contender(name.file("mtu"), fcntl.flock, EX)
    wait_blocked(waiting.pid, "flock")
    server.stop()
    with raises_errno(errno.ECONNABORTED):
        waiting.result()
    assert outcome(sysc.read, fd, 10) == "ENOTCONN"
