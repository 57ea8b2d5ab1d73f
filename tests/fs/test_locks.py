# SPDX-License-Identifier: BSD-3-Clause
"""Locks are real on attribute files and directories, and ENOLCK on every other file."""

import errno
import fcntl
import os
import random
import subprocess
import tempfile
import threading

import procs
import pytest
from harness import close, read_text, track, write_text
from locking import (EX, NB, OFD_GETLK, OFD_SETLK, OFD_SETLKW, SH, TAKER_NAMES, TAKERS, UN, Holder,
                     attribute, contender, no_lock_left, opened, record, taker)
from procs import Child, wait_blocked
from sysc import outcome, raises_errno

__all__ = ["attribute", "no_lock_left"]  # fixtures
MOST_RANGES = 64


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
    holder.open_gate()
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
    holder.open_gate()
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
