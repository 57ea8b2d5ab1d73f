# SPDX-License-Identifier: BSD-3-Clause
"""Locks: real on attribute files and directories, ENOLCK on every other file."""

import errno
import fcntl
import os
import random
import signal
import struct
import subprocess
import tempfile
import threading

import harness
import procs
import pytest
import sysc
from harness import close, read_text, track, write_text
from procs import Child, describe, state_of, wait_blocked, wait_for
from sysc import outcome, raises_errno

AT_ONCE_S = 1.0
EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38
MOST_RANGES = 64
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
        ready, self._ready = os.pipe()
        self._go, go = os.pipe()
        self.child = Child(self._run, path, take, then, (self._ready, self._go), (ready, go),
                           keep=(self._ready, self._go))
        os.close(self._ready)
        os.close(self._go)
        self._gate = track(go)
        self.pid = self.child.pid
        assert os.read(ready, 1) == b"+", self.child.result()
        os.close(ready)

    @staticmethod
    def _run(path, take, then, mine, _theirs):
        told, go = mine
        fd = os.open(path, os.O_RDWR if os.path.isfile(path) else os.O_RDONLY)
        take(fd)
        os.write(told, b"+")
        os.read(go, 1)
        return then(fd) if then else None

    def go_on(self):
        close(self._gate)
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


# --- flock -----------------------------------------------------------------------------------------
def test_flock_program_excludes_another_process(attribute):
    holder = Holder(attribute, taker(fcntl.flock, EX))
    assert subprocess.run(["flock", "-n", attribute, "true"], check=False).returncode == 1
    assert subprocess.run(["flock", "-s", "-n", attribute, "true"], check=False).returncode == 1
    assert subprocess.run(["flock", "-w", "0.05", attribute, "true"], check=False).returncode == 1
    holder.go_on()
    assert subprocess.run(["flock", "-n", attribute, "true"], check=False).returncode == 0


def test_flock_program_holds_its_lock(attribute):
    with subprocess.Popen(["flock", attribute, "sh", "-c", "echo; cat"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        process.stdout.read(1)
        fd = opened(attribute)
        with raises_errno(errno.EAGAIN):
            fcntl.flock(fd, SH | NB)
        process.stdin.close()
        process.wait(procs.DEADLINE_S)
        fcntl.flock(fd, EX | NB)


def test_shared_flocks_go_together(attribute):
    first, second, third = (opened(attribute, os.O_RDONLY) for _ in range(3))
    fcntl.flock(first, SH | NB)
    fcntl.flock(second, SH | NB)
    with raises_errno(errno.EAGAIN):
        fcntl.flock(third, EX | NB)
    fcntl.flock(first, UN)
    fcntl.flock(second, UN)
    fcntl.flock(third, EX | NB)


def test_flock_belongs_to_the_description(attribute):
    fd = opened(attribute)
    fcntl.flock(fd, EX)
    copy = track(os.dup(fd))
    fcntl.flock(copy, EX | NB)
    close(fd)
    other = opened(attribute)
    with raises_errno(errno.EAGAIN):
        fcntl.flock(other, SH | NB)
    close(copy)
    fcntl.flock(other, EX)


def test_two_who_share_a_flock_may_both_want_it_alone(attribute):
    fd = opened(attribute)
    fcntl.flock(fd, SH)
    holder = Holder(attribute, taker(fcntl.flock, SH), taker(fcntl.flock, EX))
    close(holder._gate)  # pylint: disable=protected-access
    wait_blocked(holder.pid, "flock")
    fcntl.flock(fd, EX)  # gives the shared lock away, and waits for the other to end
    holder.child.result()


@pytest.mark.parametrize("take", TAKERS[:2], ids=TAKER_NAMES[:2])
def test_a_waiter_gets_the_lock_when_it_goes(attribute, take):
    holder = Holder(attribute, take)
    waiting = contender(attribute, take)
    wait_blocked(waiting.pid, "flock", "fcntl")
    assert not waiting.finished(0.05)
    holder.go_on()
    assert waiting.result() == waiting.pid


def test_waiters_are_served_in_the_order_they_came(attribute):
    fd = opened(attribute)
    fcntl.flock(fd, EX)
    report, told = os.pipe()

    def run(number):
        fcntl.flock(os.open(attribute, os.O_RDONLY), EX)
        os.write(told, bytes([number]))
    children = []
    for number in range(5):
        children.append(Child(run, number, keep=[told]))
        wait_blocked(children[-1].pid, "flock")
    fcntl.flock(fd, UN)
    for child in children:
        child.result()
    assert os.read(report, 10) == bytes(range(5))
    os.close(report)
    os.close(told)


# --- the end of holders and waiters ---------------------------------------------------------------
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
    assert waiting.seconds_to_die() < AT_ONCE_S
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
    assert waiting.result(AT_ONCE_S) == "signalled"


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


# --- fcntl -----------------------------------------------------------------------------------------
def test_ranges_of_two_processes(attribute):
    holder = Holder(attribute, taker(fcntl.lockf, EX, 10, 100))
    fd = opened(attribute)
    fcntl.lockf(fd, EX | NB, 100, 0)
    fcntl.lockf(fd, EX | NB, 0, 110)  # to the end
    for start in (100, 109):
        with raises_errno(errno.EAGAIN):
            fcntl.lockf(fd, SH | NB, 1, start)
    with raises_errno(errno.EAGAIN):
        fcntl.lockf(fd, EX | NB)
    holder.go_on()
    fcntl.lockf(fd, EX | NB)


def test_the_question_names_the_holder(attribute):
    fd = opened(attribute)
    holder = Holder(attribute, taker(fcntl.lockf, SH, 10, 100))
    assert record(fd, fcntl.F_GETLK, fcntl.F_WRLCK) == (fcntl.F_RDLCK, 100, 10, holder.pid)
    assert record(fd, fcntl.F_GETLK, fcntl.F_RDLCK)[0] == fcntl.F_UNLCK
    assert record(fd, fcntl.F_GETLK, fcntl.F_WRLCK, 0, 100)[0] == fcntl.F_UNLCK
    holder.go_on()
    holder = Holder(attribute, taker(fcntl.lockf, EX, 0, 7))
    assert record(fd, fcntl.F_GETLK, fcntl.F_RDLCK) == (fcntl.F_WRLCK, 7, 0, holder.pid)
    holder.go_on()
    assert record(fd, fcntl.F_GETLK, fcntl.F_WRLCK)[0] == fcntl.F_UNLCK


def test_unlocking_the_middle_cuts_in_two(attribute):
    def take(fd):
        fcntl.lockf(fd, EX, 30, 0)
        fcntl.lockf(fd, UN, 10, 10)
    holder = Holder(attribute, take)
    fd = opened(attribute)
    fcntl.lockf(fd, EX | NB, 10, 10)
    assert record(fd, fcntl.F_GETLK, fcntl.F_WRLCK)[1:3] == (0, 10)
    assert record(fd, fcntl.F_GETLK, fcntl.F_WRLCK, 10)[1:3] == (20, 10)
    holder.go_on()


def test_closing_any_descriptor_gives_the_locks_of_the_process_back(attribute):
    def take(fd):
        fcntl.lockf(fd, EX)
        os.close(os.open(attribute, os.O_RDONLY))
    holder = Holder(attribute, take)
    fcntl.lockf(opened(attribute), EX | NB)
    holder.go_on()


def test_a_child_does_not_inherit_the_locks_of_its_parent(attribute):
    fd = opened(attribute)
    fcntl.lockf(fd, EX)

    def run():
        with raises_errno(errno.EAGAIN):
            fcntl.lockf(fd, EX | NB)
        return True
    assert Child(run, keep=[fd]).result()
    other = contender(attribute, fcntl.lockf, EX | NB)  # the child's end took nothing away
    with raises_errno(errno.EAGAIN):
        other.result()


def test_locks_of_a_description_outlive_the_descriptor_that_took_them(attribute):
    fd = opened(attribute)
    record(fd, OFD_SETLK, fcntl.F_WRLCK)
    copy = track(os.dup(fd))
    close(fd)
    os.close(os.open(attribute, os.O_RDONLY))
    other = opened(attribute)
    with raises_errno(errno.EAGAIN):
        record(other, OFD_SETLK, fcntl.F_RDLCK)
    close(copy)
    record(other, OFD_SETLK, fcntl.F_WRLCK)


def test_flock_and_fcntl_do_not_see_each_other(attribute):
    holder = Holder(attribute, taker(fcntl.flock, EX))
    fcntl.lockf(opened(attribute), EX | NB)
    holder.go_on()


def test_a_circle_is_told_as_a_deadlock(attribute):
    fd = opened(attribute)
    fcntl.lockf(fd, EX, 1, 0)
    holder = Holder(attribute, taker(fcntl.lockf, EX, 1, 1), taker(fcntl.lockf, EX, 1, 0))
    close(holder._gate)  # pylint: disable=protected-access
    wait_blocked(holder.pid, "fcntl")
    with raises_errno(errno.EDEADLK):
        fcntl.lockf(fd, EX, 1, 1)
    fcntl.lockf(fd, UN)
    holder.child.result()


def test_a_read_only_descriptor_takes_shared_ranges_only(attribute):
    fd = opened(attribute, os.O_RDONLY)
    fcntl.lockf(fd, SH | NB)
    with raises_errno(errno.EBADF):
        fcntl.lockf(fd, EX | NB)


def test_too_many_ranges_are_enolck(attribute):
    fd = opened(attribute)
    for number in range(MOST_RANGES):
        fcntl.lockf(fd, SH, 1, 2 * number)
    with raises_errno(errno.ENOLCK):
        fcntl.lockf(fd, SH, 1, 2 * MOST_RANGES)
    fcntl.lockf(fd, UN)
    fcntl.lockf(fd, SH, 1, 2 * MOST_RANGES)


def test_the_same_as_a_local_filesystem(attribute):
    """A thousand steps by four descriptions, beside a file of tmpfs."""
    chance = random.Random(20)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as local:
        pairs = [(opened(attribute), opened(local.name)) for _ in range(4)]
        for step in range(1000):
            ours, theirs = pair = chance.choice(pairs)
            start, length = chance.randrange(20), chance.randrange(20)
            kind = chance.choice([fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK])
            way = chance.choice(["flock", "set", "set", "set", "get", "reopen"])
            if way == "flock":
                operation = chance.choice([SH | NB, EX | NB, UN])
                answers = [outcome(fcntl.flock, fd, operation) for fd in pair]
            elif way == "set":
                answers = [outcome(record, fd, OFD_SETLK, kind, start, length) for fd in pair]
            elif way == "get" and kind != fcntl.F_UNLCK:
                answers = [outcome(record, fd, OFD_GETLK, kind, start, length) for fd in pair]
                # Which of several locks is told is open; its kind and that it conflicts are not.
                answers = [(held[0], held[0] == fcntl.F_UNLCK or
                            (held[1] < start + (length or 1 << 60) and
                             start < held[1] + (held[2] or 1 << 60))) for held in answers]
                if answers[0][0] != fcntl.F_UNLCK and answers[1][0] != fcntl.F_UNLCK:
                    answers = [ok for _, ok in answers]
            else:
                for fd in pair:  # before close(2), which does not wait until the locks have gone
                    fcntl.flock(fd, UN)
                    record(fd, OFD_SETLK, fcntl.F_UNLCK)
                pairs.remove(pair)
                close(ours, theirs)
                pairs.append((opened(attribute), opened(local.name)))
                continue
            assert answers[0] == answers[1], f"step {step}: {way} {kind} {start}+{length}"


# --- other files -----------------------------------------------------------------------------------
def expect_no_locks(fd):
    for operation in (SH, EX, SH | NB, EX | NB, UN):
        with raises_errno(errno.ENOLCK):
            fcntl.flock(fd, operation)
    writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    kinds = [fcntl.F_RDLCK, fcntl.F_UNLCK] + ([fcntl.F_WRLCK] if writable else [])
    for kind in kinds:
        for command in (fcntl.F_SETLK, fcntl.F_SETLKW, OFD_SETLK, OFD_SETLKW):
            with raises_errno(errno.ENOLCK):
                record(fd, command, kind)
    for command in (fcntl.F_GETLK, OFD_GETLK):
        with raises_errno(errno.ENOLCK):
            record(fd, command, fcntl.F_RDLCK)


def test_message_files_have_no_locks(daemon, name):
    client, server = name.pair()
    expect_no_locks(client)
    expect_no_locks(server)
    flow = next(iter(daemon.flow_states()))
    expect_no_locks(opened(daemon.path("flows", str(flow), "data")))
    os.write(client, b"still works")
    assert os.read(server, 100) == b"still works"


def test_stream_files_have_no_locks(daemon):
    expect_no_locks(opened(daemon.path("events"), os.O_RDONLY))


def test_directories_have_real_locks(name):
    holder = Holder(name.path, taker(fcntl.flock, EX))
    fd = opened(name.path, os.O_RDONLY)
    with raises_errno(errno.EAGAIN):
        fcntl.flock(fd, SH | NB)
    holder.go_on()
    fcntl.flock(fd, EX | NB)


@pytest.mark.parametrize("path", ["README", "version", "metrics", "users/0/usage"])
def test_attribute_files_everywhere_have_locks(daemon, path):
    first, second = (opened(daemon.path(path), os.O_RDONLY) for _ in range(2))
    fcntl.flock(first, EX | NB)
    with raises_errno(errno.EAGAIN):
        fcntl.flock(second, SH | NB)


def test_locks_are_advisory(name, attribute):
    holder = Holder(attribute, taker(fcntl.flock, EX))
    write_text(attribute, "17")
    assert read_text(attribute) == "17"
    holder.go_on()


def test_locks_of_one_file_do_not_touch_another(name):
    fcntl.flock(opened(name.file("backlog")), EX)
    fcntl.flock(opened(name.file("mtu")), EX | NB)


def test_a_lock_follows_a_renamed_name(daemon, name):
    fcntl.flock(opened(name.file("backlog")), EX)
    moved = daemon.path("names", name.name + ".moved")
    os.rename(name.path, moved)
    with raises_errno(errno.EAGAIN):
        fcntl.flock(opened(os.path.join(moved, "backlog")), EX | NB)


def test_a_lock_goes_with_its_file_after_the_object(daemon):
    gone = daemon.name("gone")
    os.mkdir(gone.path)
    fd = opened(gone.file("backlog"))
    fcntl.flock(fd, EX)
    os.rmdir(gone.path)
    assert locked_ranges(daemon) == 1
    close(fd)
    wait_for(lambda: locked_ranges(daemon) == 0, "the lock gone")


def test_many_threads_take_turns(attribute):
    inside, most, turns = [], [], []

    def run():
        for _ in range(20):
            fd = os.open(attribute, os.O_RDWR)
            fcntl.flock(fd, EX)
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            turns.append(1)
            os.close(fd)
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(turns) == 160
    assert max(most) == 1


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
