# SPDX-License-Identifier: BSD-3-Clause
"""Trial 10: rmdir racing opens, and exchange racing dials. FLOWFS_LONG=1 runs a million."""

import os
import select

import pytest
from fixtures import long_run
from procs import Child, wait_for
from sysc import RENAME_EXCHANGE, outcome, rename2

OPENS = 1_000_000 if long_run() else 6_000
NONBLOCK = os.O_RDWR | os.O_NONBLOCK
pytestmark = pytest.mark.deadline(3600 if long_run() else 90)


def tally(counts, key):
    counts[key] = counts.get(key, 0) + 1


def opener(path, count):
    """Opens and closes `path`; how often each outcome came, and what pending ends said."""
    counts = {}
    for _ in range(count):
        fd = outcome(os.open, path, NONBLOCK)
        if isinstance(fd, str):
            tally(counts, fd)
            continue
        said = outcome(os.read, fd, 1)
        tally(counts, f"read {said if isinstance(said, str) else 'data'}")
        os.close(fd)
    return counts


def maker(path, stop):
    """Makes and removes the name until told to stop."""
    counts = {}
    while not select.select([stop], [], [], 0)[0]:
        tally(counts, f"mkdir {outcome(os.mkdir, path)}")
        tally(counts, f"rmdir {outcome(os.rmdir, path)}")
    return counts


def test_rmdir_racing_opens_gives_enoent_or_a_flow(daemon):
    path = daemon.path("names", "race")
    stop_read, stop_write = os.pipe()
    making = Child(maker, path, stop_read, keep=[stop_read])
    openers = [Child(opener, os.path.join(path, file), OPENS // 2) for file in ("dial", "accept")]
    counts = [child.result(3600) for child in openers]
    os.write(stop_write, b".")
    made = making.result()
    os.close(stop_read), os.close(stop_write)
    # ESTALE and the like would be a node that outlived its name.
    for count in counts:
        assert set(count) <= {"ENOENT", "read EAGAIN", "read ENOENT", "read data"}, counts
        assert sum(count.values()) == OPENS // 2
    assert set(made) <= {"mkdir None", "mkdir EEXIST", "rmdir None", "rmdir EBUSY"}, made
    assert made["rmdir None"] > 0
    assert any(key.startswith("read") for count in counts for key in count)


def talk(name, count):
    """Dials and exchanges a message; each flow that comes up must be sound."""
    counts = {}
    for i in range(count):
        fd = outcome(os.open, name.dial, os.O_RDWR)
        if isinstance(fd, str):
            tally(counts, fd)
            continue
        word = b"%d" % i
        sent = outcome(os.write, fd, word)
        answer = outcome(os.read, fd, 100)
        tally(counts, "sound" if answer == b"re " + word else f"{sent} {answer}")
        os.close(fd)
    return counts


def answer_for_ever(name):
    while True:
        fd = outcome(os.open, name.accept, os.O_RDWR)
        if isinstance(fd, str):
            continue
        question = outcome(os.read, fd, 100)
        if isinstance(question, bytes):
            outcome(os.write, fd, b"re " + question)
        os.close(fd)


def remove_for_ever(name):
    while True:
        if outcome(os.rmdir, name.path) is None:
            os.mkdir(name.path)
            with open(name.file("dial_timeout"), "w", encoding="ascii") as file:
                file.write("1000000")


def test_every_flow_that_comes_up_amid_removals_is_sound(daemon):
    name = daemon.name("race")
    os.mkdir(name.path)
    servers = [Child(answer_for_ever, name) for _ in range(2)]
    removing = Child(remove_for_ever, name)
    clients = [Child(talk, name, OPENS // 10) for _ in range(2)]
    counts = [child.result(3600) for child in clients]
    for child in (removing, *servers):
        child.kill()
        child.reap()
    for count in counts:
        assert set(count) <= {"sound", "ENOENT", "ETIMEDOUT"}, counts
    assert sum(count.get("sound", 0) for count in counts) > 0


def server_of(path, tag):
    """Serves for ever the name that is at `path` now, wherever it is moved: each flow gets the tag."""
    folder = os.open(path, os.O_PATH)
    while True:
        fd = outcome(lambda: os.open("accept", os.O_RDWR, dir_fd=folder))
        if isinstance(fd, int):
            os.write(fd, tag)
            outcome(os.read, fd, 1)
            os.close(fd)


def swapper(one, two, stop):
    swaps = 0
    while not select.select([stop], [], [], 0)[0]:
        rename2(one, two, RENAME_EXCHANGE)
        swaps += 1
    return swaps


def dial_and_count(name, count):
    counts = {}
    for _ in range(count):
        fd = outcome(os.open, name.dial, os.O_RDWR)
        if isinstance(fd, str):
            tally(counts, fd)
            continue
        answer = outcome(os.read, fd, 10)
        tally(counts, answer)
        os.close(fd)
    return counts


def test_an_exchange_racing_dials_never_misses(daemon):
    """A service is swapped under its clients: each dial reaches one or the other, none fails."""
    names = [daemon.name("live"), daemon.name("next")]
    stop_read, stop_write = os.pipe()
    for name in names:
        os.mkdir(name.path)
    servers = [Child(server_of, name.path, tag) for name, tag in zip(names, (b"a", b"b"))]
    daemon.wait_states(accept_pending=2)
    swapping = Child(swapper, names[0].path, names[1].path, stop_read, keep=[stop_read])
    dialling = [Child(dial_and_count, names[i], OPENS // 10) for i in range(2)]
    counts = [child.result(3600) for child in dialling]
    os.write(stop_write, b".")
    assert swapping.result() > 10
    os.close(stop_read), os.close(stop_write)
    assert all(set(count) == {b"a", b"b"} for count in counts), counts
    for server in servers:
        server.kill()
        server.reap()


def rename_back_and_forth(one, two, stop):
    while not select.select([stop], [], [], 0)[0]:
        os.rename(one, two)
        os.rename(two, one)


def test_a_rename_racing_dials_gives_enoent_or_a_flow(daemon):
    name = daemon.name("here")
    os.mkdir(name.path)
    server = Child(server_of, name.path, b"x")
    daemon.wait_states(accept_pending=1)
    stop_read, stop_write = os.pipe()
    moving = Child(rename_back_and_forth, name.path, daemon.path("names", "there"), stop_read,
                   keep=[stop_read])
    counts = Child(dial_and_count, name, OPENS // 6).result(3600)
    os.write(stop_write, b".")
    moving.result()
    os.close(stop_read), os.close(stop_write)
    assert set(counts) <= {b"x", "ENOENT"}, counts
    assert counts.get(b"x", 0) > 0
    server.kill()
    server.reap()


def test_many_clients_and_servers_all_meet(daemon, name):
    """As many dials as accepts, from many processes, in any order: nobody is left waiting."""
    name.set("backlog", "max")
    each, processes = 60, 8

    def serve():
        for _ in range(each):
            fd = os.open(name.accept, os.O_RDWR)
            os.write(fd, os.read(fd, 100))
            os.close(fd)

    def dial():
        for i in range(each):
            fd = os.open(name.dial, os.O_RDWR)
            os.write(fd, b"%d" % i)
            assert os.read(fd, 100) == b"%d" % i
            os.close(fd)
    children = [Child(call) for _ in range(processes) for call in (serve, dial)]
    for child in children:
        child.result(60)
    wait_for(lambda: not daemon.flow_states(), "no flows")
    assert name.stats()["flows_ever"] == str(each * processes)


def test_kills_at_random_moments_leave_nothing(daemon, name):
    """Clients and servers die at any time; the tree is empty afterwards and still serves."""
    def churn(path):
        while True:
            fd = outcome(os.open, path, os.O_RDWR)
            if isinstance(fd, int):
                outcome(os.write, fd, b"x" * 1000)
                outcome(os.read, fd, 1000)
                os.close(fd)
    living = [Child(churn, name.dial if i % 2 else name.accept) for i in range(6)]
    for i in range(10_000 if long_run() else 300):
        victim = living.pop(0)
        victim.kill()
        victim.reap()
        living.append(Child(churn, name.dial if i % 2 else name.accept))
    for child in living:
        child.kill()
        child.reap()
    wait_for(lambda: not daemon.flow_states(), "no flows")
    client, server = name.pair()
    os.write(client, b"fine")
    assert os.read(server, 10) == b"fine"
