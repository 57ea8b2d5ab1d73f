# SPDX-License-Identifier: BSD-3-Clause
"""How clients and servers of a name find each other: queues, timeouts, balance, errors of open."""

import errno
import os
import select
import time

import pytest
from harness import close
from procs import Child, as_user, wait_for
from sysc import outcome, raises_errno

ALICE, BOB, CAROL = 61001, 61002, 61003
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


def is_up(fd):
    """Whether a pending end has found its peer."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(dict(poller.poll(0)).get(fd, 0) & select.POLLOUT)


def dial_and_tag(name, tag):
    """Opens dial, says who it is, and stays until the server closes."""
    fd = os.open(name.dial, os.O_RDWR)
    os.write(fd, tag)
    os.read(fd, 1)


def serve_and_tag(name, tag, flows=1):
    """Serves `flows` flows one after the other, each with one message that says who served it."""
    for _ in range(flows):
        fd = os.open(name.accept, os.O_RDWR)
        os.write(fd, tag)
        os.read(fd, 1)
        os.close(fd)


def served_by(name):
    """Dials once; which server answered."""
    fd = os.open(name.dial, os.O_RDWR)
    tag = os.read(fd, 100)
    os.close(fd)
    return tag


# --- both orders -------------------------------------------------------------------------------

def test_the_server_may_come_first(daemon, name):
    server = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    assert not server.finished(0.02)
    name.open_dial()
    server.result()


def test_the_client_may_come_first(daemon, name):
    client = Child(os.open, name.dial, os.O_RDWR)
    daemon.wait_states(alloc_pending=1)
    assert not client.finished(0.02)
    name.open_accept()
    client.result()


def test_clients_are_served_first_in_first_out(daemon, name):
    for i in range(8):
        Child(dial_and_tag, name, b"%d" % i)
        daemon.wait_states(alloc_pending=i + 1)
    servers = [name.open_accept() for _ in range(8)]
    assert [os.read(server, 10) for server in servers] == [b"%d" % i for i in range(8)]


def test_waiting_servers_are_taken_first_in_first_out(name):
    servers = [name.open_accept(NONBLOCK) for _ in range(8)]
    for i in range(8):
        name.open_dial()
        assert [is_up(server) for server in servers] == [True] * (i + 1) + [False] * (7 - i)


def test_a_server_that_died_waiting_is_skipped(daemon, name):
    first = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    second = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=2)
    first.kill()
    first.reap()
    daemon.wait_states(accept_pending=1)
    name.open_dial()
    second.result()


def test_a_client_that_died_waiting_is_skipped(daemon, name):
    first = Child(dial_and_tag, name, b"first")
    daemon.wait_states(alloc_pending=1)
    Child(dial_and_tag, name, b"second")
    daemon.wait_states(alloc_pending=2)
    first.kill()
    first.reap()
    daemon.wait_states(alloc_pending=1)
    assert os.read(name.open_accept(), 100) == b"second"


def test_one_process_serves_many_flows(name):
    pairs = [name.pair() for _ in range(50)]
    for i, (client, _) in enumerate(pairs):
        os.write(client, b"%d" % i)
    for i, (client, server) in reversed(list(enumerate(pairs))):
        assert os.read(server, 10) == b"%d" % i


def test_names_are_independent(daemon, name, open_name):
    server = name.open_accept(NONBLOCK)
    client = open_name.open_dial(NONBLOCK)
    assert not is_up(server) and not is_up(client)


# --- backlog -----------------------------------------------------------------------------------

def test_a_full_backlog_gives_eagain_to_a_nonblocking_dial(name):
    name.set("backlog", 2)
    waiting = [name.open_dial(NONBLOCK) for _ in range(2)]
    with raises_errno(errno.EAGAIN):
        name.open_dial(NONBLOCK)
    close(waiting[0])
    name.open_dial(NONBLOCK)


def test_a_full_backlog_makes_a_blocking_dial_wait(daemon, name):
    name.set("backlog", 1)
    first = name.open_dial(NONBLOCK)
    Child(dial_and_tag, name, b"second")
    daemon.wait_states(alloc_pending=2)
    servers = [name.open_accept(), name.open_accept()]
    assert is_up(first)
    assert os.read(servers[1], 100) == b"second"


def test_backlog_0_takes_a_dial_only_for_a_waiting_server(name):
    name.set("backlog", 0)
    with raises_errno(errno.EAGAIN):
        name.open_dial(NONBLOCK)
    name.open_accept(NONBLOCK)
    assert is_up(name.open_dial(NONBLOCK))


def test_backlog_max_takes_many(name):
    name.set("backlog", "max")
    assert len([name.open_dial(NONBLOCK) for _ in range(300)]) == 300


def test_a_raised_backlog_holds_at_once(name):
    name.set("backlog", 1)
    name.open_dial(NONBLOCK)
    with raises_errno(errno.EAGAIN):
        name.open_dial(NONBLOCK)
    name.set("backlog", 2)
    name.open_dial(NONBLOCK)


def test_foreign_users_leave_the_owner_a_place(daemon):
    made = daemon.name("alices")
    as_user(ALICE, os.mkdir, made.path)
    os.chmod(made.dial, 0o666)
    os.chmod(made.path, 0o755)
    made.set("backlog", 16)

    def take_all(count_only):
        fds = []
        while True:
            try:
                fds.append(os.open(made.dial, NONBLOCK))
            except BlockingIOError:
                break
        os.write(count_only, b"%d" % len(fds))
        select.select([], [], [])
    readable, writable = os.pipe()
    taken = []
    for uid in (BOB, CAROL):
        Child(take_all, writable, uid=uid, keep=[writable])
        taken.append(int(os.read(readable, 10)))
    os.close(readable), os.close(writable)
    assert all(count >= 1 for count in taken)
    assert sum(taken) < 16
    assert as_user(ALICE, lambda: bool(os.open(made.dial, NONBLOCK)))


# --- dial_timeout ------------------------------------------------------------------------------

def test_timeout_0_refuses_at_once_when_nobody_is_accepting(name):
    name.set("dial_timeout", 0)
    for flags in (os.O_RDWR, NONBLOCK):
        with raises_errno(errno.ECONNREFUSED):
            name.open_dial(flags)


def test_timeout_0_reaches_a_server_that_waits(name):
    name.set("dial_timeout", 0)
    name.open_accept(NONBLOCK)
    name.open_dial()


def test_a_dial_expires(name):
    name.set("dial_timeout", 50_000)
    start = time.monotonic()
    with raises_errno(errno.ETIMEDOUT):
        name.open_dial()
    assert time.monotonic() - start >= 0.045


def test_an_expired_dial_leaves_the_queue(daemon, name):
    name.set("dial_timeout", 1)
    with raises_errno(errno.ETIMEDOUT):
        name.open_dial()
    server = name.open_accept(NONBLOCK)
    assert not is_up(server)


def test_a_longer_timeout_holds_for_later_dials(daemon, name):
    name.set("dial_timeout", 100_000)
    early = Child(outcome, os.open, name.dial, os.O_RDWR)
    # Once it waits, or has waited already.
    wait_for(lambda: "alloc-pending" in daemon.flow_states().values() or early.finished(0), "a dial")
    name.set("dial_timeout", "max")
    late = Child(outcome, os.open, name.dial, os.O_RDWR)
    assert early.result() == "ETIMEDOUT"
    daemon.wait_states(alloc_pending=1)
    assert not late.finished(0.15)
    name.open_accept()
    assert isinstance(late.result(), int)


def test_dials_expire_in_the_order_of_their_deadlines(daemon, name):
    name.set("dial_timeout", 1_500_000)  # far behind the other, though the machine be busy
    slow = Child(outcome, os.open, name.dial, os.O_RDWR)
    daemon.wait_states(alloc_pending=1)
    name.set("dial_timeout", 20_000)
    fast = Child(outcome, os.open, name.dial, os.O_RDWR)
    assert fast.result() == "ETIMEDOUT"
    assert not slow.finished(0)
    assert slow.result() == "ETIMEDOUT"


def test_a_dial_that_waits_beyond_the_backlog_expires_too(daemon, name):
    name.set("backlog", 1).set("dial_timeout", "max")
    name.open_dial(NONBLOCK)
    name.set("dial_timeout", 30_000)
    with raises_errno(errno.ETIMEDOUT):
        name.open_dial()


# --- balance -----------------------------------------------------------------------------------

def start_servers(daemon, name, tags, flows, uids=None):
    """One server process per tag, waiting in the order of the tags."""
    children = []
    for i, tag in enumerate(tags):
        children.append(Child(serve_and_tag, name, tag, flows, uid=uids[i] if uids else None))
        daemon.wait_states(accept_pending=i + 1)
    return children


def test_fifo_gives_the_flow_to_the_longest_waiting(daemon, name):
    start_servers(daemon, name, [b"a", b"b", b"c"], 2)
    order = []
    for _ in range(6):
        order.append(served_by(name))
        if len(order) <= 3:
            daemon.wait_states(accept_pending=3)
    assert order == [b"a", b"b", b"c"] * 2


def many_accepts(name, tag, count):
    """A process with `count` accepts waiting at once; each end that comes up says its tag."""
    fds = [os.open(name.accept, NONBLOCK) for _ in range(count)]
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLOUT)
    while True:
        for fd, _ in poller.poll():
            os.write(fd, tag)
            poller.unregister(fd)


@pytest.mark.parametrize("balance, expected", [
    ("fifo", [b"a"] * 4 + [b"b"] * 2),
    ("round-robin", [b"a", b"b"] * 3)])
def test_balance_over_processes_with_many_waiting_ends(daemon, name, balance, expected):
    name.set("balance", balance)
    Child(many_accepts, name, b"a", 4)
    daemon.wait_states(accept_pending=4)
    Child(many_accepts, name, b"b", 4)
    daemon.wait_states(accept_pending=8)
    clients = [name.open_dial() for _ in range(6)]
    order = [os.read(fd, 10) for fd in clients]
    if balance == "fifo":
        assert order == expected
    else:
        assert all(one != two for one, two in zip(order, order[1:]))


def test_least_flows_prefers_the_process_with_fewest(daemon, name):
    name.set("balance", "least-flows")
    Child(many_accepts, name, b"a", 6)
    daemon.wait_states(accept_pending=6)
    clients = [name.open_dial() for _ in range(3)]
    assert [os.read(fd, 9) for fd in clients] == [b"a"] * 3
    Child(many_accepts, name, b"b", 6)
    daemon.wait_states(accept_pending=9)
    later = [name.open_dial() for _ in range(3)]
    assert [os.read(fd, 9) for fd in later] == [b"b"] * 3
    evenly = [name.open_dial() for _ in range(2)]
    assert {os.read(fd, 9) for fd in evenly} == {b"a", b"b"}


def test_round_robin_goes_over_the_users(daemon, open_name):
    open_name.set("balance", "round-robin")
    for i, (uid, tag) in enumerate([(ALICE, b"a"), (BOB, b"b"), (CAROL, b"c")]):
        Child(many_accepts, open_name, tag, 3, uid=uid)
        daemon.wait_states(accept_pending=3 * (i + 1))
    clients = [open_name.open_dial() for _ in range(9)]
    order = [os.read(fd, 9) for fd in clients]
    for i in range(0, 9, 3):
        assert sorted(order[i:i + 3]) == [b"a", b"b", b"c"]
