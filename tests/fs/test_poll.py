# SPDX-License-Identifier: BSD-3-Clause
"""O_NONBLOCK, poll, select, epoll and asyncio on the ends of flows."""

import asyncio
import errno
import os
import select
import time

import pytest
import wire
from harness import close, set_nonblock
from procs import Child, wait_for
from sysc import raises_errno

IN, OUT, HUP, ERR = select.POLLIN, select.POLLOUT, select.POLLHUP, select.POLLERR
ASKED = IN | OUT | select.POLLPRI


def ready(fd, asked=ASKED):
    """What poll reports now."""
    poller = select.poll()
    poller.register(fd, asked)
    return dict(poller.poll(0)).get(fd, 0)


def wait_ready(fd, bits, asked=ASKED, timeout_ms=5000):
    """Waits in poll until one of `bits` is reported; returns all that is."""
    poller = select.poll()
    poller.register(fd, asked)
    end = time.monotonic() + timeout_ms / 1000
    while time.monotonic() < end:
        found = dict(poller.poll(max(1, int((end - time.monotonic()) * 1000)))).get(fd, 0)
        if found & bits:
            return found
    raise AssertionError(f"poll never said {bits:#x}")


@pytest.fixture
def flow(name):
    return name.pair(nonblock=True)


def _sleeps_in_poll(pid):
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "poll" in file.read()


# --- O_NONBLOCK --------------------------------------------------------------------------------

def test_an_empty_flow_gives_eagain(flow):
    for fd in flow:
        with raises_errno(errno.EAGAIN):
            os.read(fd, 1)


def test_a_full_flow_gives_eagain_and_takes_more_after_a_read(name):
    client, server = name.set("depth", 8192).pair(nonblock=True)
    sent = 0
    with raises_errno(errno.EAGAIN):
        while sent < 1000:
            os.write(client, b"x" * 1024)
            sent += 1
    assert 1 <= sent <= 8
    assert os.read(server, 1024) == b"x" * 1024
    assert os.write(client, b"x" * 1024) == 1024


def test_both_directions_fill_independently(name):
    client, server = name.set("depth", 4096).pair(nonblock=True)
    for fd in (client, server):
        with raises_errno(errno.EAGAIN):
            while True:
                os.write(fd, b"x" * 4096)
    assert len(os.read(client, 5000)) == len(os.read(server, 5000)) == 4096


def test_nonblock_can_be_switched_on_and_off(name):
    client, server = name.pair()
    set_nonblock(client)
    with raises_errno(errno.EAGAIN):
        os.read(client, 1)
    set_nonblock(client, False)
    reader = Child(os.read, client, 9, keep=[client]).wait_blocked("read")
    os.write(server, b"x")
    assert reader.result() == b"x"


def test_end_of_file_is_not_eagain(flow):
    close(flow[0])
    assert os.read(flow[1], 1) == b""
    with raises_errno(errno.EPIPE):
        os.write(flow[1], b"x")


# --- pending opens -----------------------------------------------------------------------------

def test_a_nonblocking_dial_returns_pending(daemon, name):
    client = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    daemon.wait_states(alloc_pending=1)
    assert ready(client) & (IN | OUT | ERR) == 0
    name.open_accept()
    assert wait_ready(client, OUT) & (OUT | ERR | HUP) == OUT
    os.write(client, b"x")


def test_a_nonblocking_accept_returns_pending(daemon, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    daemon.wait_states(accept_pending=1)
    assert ready(server) & (IN | OUT | ERR) == 0
    client = name.open_dial()
    assert wait_ready(server, OUT) & (OUT | ERR | HUP) == OUT
    os.write(server, b"x")
    assert os.read(client, 1) == b"x"


@pytest.mark.parametrize("end", ["dial", "accept"])
def test_a_pending_end_gives_eagain(name, end):
    fd = getattr(name, f"open_{end}")(os.O_RDWR | os.O_NONBLOCK)
    with raises_errno(errno.EAGAIN):
        os.read(fd, 1)
    with raises_errno(errno.EAGAIN):
        os.write(fd, b"x")


def test_a_pending_dial_that_expires_says_so(name):
    name.set("dial_timeout", 20000)
    client = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    assert wait_ready(client, ERR) & ERR
    with raises_errno(errno.ETIMEDOUT):
        os.read(client, 1)


def test_a_pending_dial_that_expires_says_so_to_a_writer(name):
    name.set("dial_timeout", 20000)
    client = name.open_dial(os.O_WRONLY | os.O_NONBLOCK)
    assert wait_ready(client, ERR) & ERR
    with raises_errno(errno.ETIMEDOUT):
        os.write(client, b"x")


def test_a_pending_dial_fails_when_the_name_goes(name):
    client = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    os.rmdir(name.path)
    assert wait_ready(client, ERR) & ERR
    with raises_errno(errno.ENOENT):
        os.read(client, 1)


def test_a_pending_dial_whose_flag_is_cleared_waits_in_its_first_read(daemon, name):
    client = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    set_nonblock(client, False)
    reader = Child(os.read, client, 9, keep=[client]).wait_blocked("read")
    server = name.open_accept()
    os.write(server, b"here")
    assert reader.result() == b"here"


def test_closing_a_pending_end_takes_it_out_of_the_queue(daemon, name):
    client = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    close(client)
    daemon.wait_states(alloc_pending=0)
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    assert ready(server) & OUT == 0


# --- poll --------------------------------------------------------------------------------------

def test_an_idle_flow_is_writable_only(flow):
    assert [ready(fd) for fd in flow] == [OUT, OUT]


def test_a_message_makes_it_readable(flow):
    os.write(flow[0], b"x")
    assert wait_ready(flow[1], IN) == IN | OUT
    os.read(flow[1], 1)
    assert ready(flow[1]) == OUT


def test_the_rest_of_a_message_keeps_it_readable(flow):
    os.write(flow[0], b"xy")
    os.read(flow[1], 1)
    assert ready(flow[1]) & IN
    os.read(flow[1], 1)
    assert not ready(flow[1]) & IN


def test_a_full_flow_is_not_writable(name):
    client, server = name.set("depth", 4096).pair(nonblock=True)
    os.write(client, b"x" * 4096)
    assert not ready(client) & OUT
    os.read(server, 4096)
    assert wait_ready(client, OUT) & OUT


def test_pollout_means_that_one_message_is_taken(name):
    client, server = name.set("depth", 16384).set("mtu", 8192).pair(nonblock=True)
    for size in (8192, 1, 4000, 8192, 100, 8192, 8000, 3):
        if ready(client) & OUT:
            assert os.write(client, b"x" * size) == size
        else:
            os.read(server, 8192)


def test_a_reader_asleep_in_poll_is_woken(flow):
    poller = Child(wait_ready, flow[1], IN, IN, keep=[flow[1]])
    wait_for(lambda: _sleeps_in_poll(poller.pid), "a child asleep in poll")
    os.write(flow[0], b"x")
    assert poller.result() & IN


def test_a_closed_peer_is_end_of_file_and_hangup(flow):
    close(flow[0])
    found = wait_ready(flow[1], HUP)
    assert found & IN and found & HUP and not found & ERR


def test_a_waiting_poll_sees_the_hangup(flow):
    waiting = Child(wait_ready, flow[1], HUP, IN, keep=[flow[1]])
    close(flow[0])
    assert waiting.result() & HUP


def test_hangup_comes_with_the_rest_still_readable(flow):
    os.write(flow[0], b"rest")
    close(flow[0])
    assert wait_ready(flow[1], HUP) & IN
    assert os.read(flow[1], 10) == b"rest"
    assert os.read(flow[1], 10) == b""


def test_a_destroyed_end_is_an_error(daemon, name):
    client, _ = name.pair(nonblock=True)
    with open(daemon.path("flows", str(wire.flow_id(client)), "ctl"), "wb", buffering=0) as ctl:
        ctl.write(b"close")
    assert wait_ready(client, ERR) & ERR


def test_select_agrees_with_poll(flow):
    os.write(flow[0], b"x")
    wait_ready(flow[1], IN)
    assert select.select([flow[0], flow[1]], list(flow), [], 0) == ([flow[1]], list(flow), [])


def test_select_waits_for_its_timeout(flow):
    assert select.select([flow[1]], [], [], 0.02) == ([], [], [])


# --- epoll -------------------------------------------------------------------------------------

def test_level_triggered_epoll_reports_until_it_is_read(flow):
    with select.epoll() as epoll:
        epoll.register(flow[1], select.EPOLLIN)
        os.write(flow[0], b"x")
        assert epoll.poll(5) == [(flow[1], select.EPOLLIN)]
        assert epoll.poll(0) == [(flow[1], select.EPOLLIN)]
        os.read(flow[1], 1)
        assert epoll.poll(0) == []


def test_edge_triggered_epoll_reports_each_arrival(flow):
    with select.epoll() as epoll:
        epoll.register(flow[1], select.EPOLLIN | select.EPOLLET)
        for _ in range(20):
            os.write(flow[0], b"x")
            assert epoll.poll(5) == [(flow[1], select.EPOLLIN)]
            assert os.read(flow[1], 10) == b"x"
            with raises_errno(errno.EAGAIN):
                os.read(flow[1], 10)


def test_edge_triggered_epoll_reports_a_second_message_before_the_first_is_read(flow):
    with select.epoll() as epoll:
        epoll.register(flow[1], select.EPOLLIN | select.EPOLLET)
        for _ in range(2):
            os.write(flow[0], b"x")
            assert epoll.poll(5) == [(flow[1], select.EPOLLIN)]


def test_edge_triggered_epoll_reports_room(name):
    client, server = name.set("depth", 4096).pair(nonblock=True)
    with select.epoll() as epoll:
        epoll.register(client, select.EPOLLOUT | select.EPOLLET)
        epoll.poll(5)
        for _ in range(10):
            with raises_errno(errno.EAGAIN):
                while True:
                    os.write(client, b"x" * 4096)
            os.read(server, 4096)
            assert epoll.poll(5) == [(client, select.EPOLLOUT)]


def test_edge_triggered_epoll_reports_the_end(flow):
    with select.epoll() as epoll:
        epoll.register(flow[1], select.EPOLLIN | select.EPOLLET)
        close(flow[0])
        (_, found), = epoll.poll(5)
        assert found & select.EPOLLIN and found & select.EPOLLHUP


def test_one_shot_epoll_reports_once(flow):
    with select.epoll() as epoll:
        epoll.register(flow[1], select.EPOLLIN | select.EPOLLONESHOT)
        os.write(flow[0], b"x")
        assert epoll.poll(5)
        os.write(flow[0], b"y")
        assert epoll.poll(0.05) == []
        epoll.modify(flow[1], select.EPOLLIN | select.EPOLLONESHOT)
        assert epoll.poll(5)


def test_300_flows_in_one_edge_triggered_epoll(daemon, name):
    pairs = [name.pair(nonblock=True) for _ in range(300)]
    with select.epoll() as epoll:
        for _, server in pairs:
            epoll.register(server, select.EPOLLIN | select.EPOLLET)
        for round_ in range(5):
            for client, _ in pairs:
                os.write(client, b"%d" % round_)
            waiting = {server for _, server in pairs}
            while waiting:
                events = epoll.poll(5)
                assert events, f"{len(waiting)} flows were not reported in round {round_}"
                for server, _ in events:
                    assert os.read(server, 10) == b"%d" % round_
                    waiting.discard(server)


# --- asyncio, as flowfs(7) documents it --------------------------------------------------------

def test_asyncio_add_reader_works(flow):
    async def exchange():
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_reader(flow[1], lambda: got.set_result(os.read(flow[1], 100)))
        os.write(flow[0], b"async")
        value = await asyncio.wait_for(got, 5)
        loop.remove_reader(flow[1])
        return value
    assert asyncio.run(exchange()) == b"async"


def test_asyncio_pipe_readers_refuse_it(flow):
    async def connect():
        with os.fdopen(os.dup(flow[1]), "rb", buffering=0) as pipe:
            await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, pipe)
    with pytest.raises(ValueError):
        asyncio.run(connect())
