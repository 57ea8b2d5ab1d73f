# SPDX-License-Identifier: BSD-3-Clause
"""An end by ctl, by mode bits, by odd opens, and what the stats of its name say."""

import errno
import os

import wire
from harness import close, read_text, set_nonblock, track
from procs import Child, as_user, wait_for
from sysc import outcome, raises_errno

ALICE = 61001
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


# --- half close by ctl, and the rest of open's errors ------------------------------------------

def verb(daemon, fd, text):
    with open(daemon.path("flows", str(wire.flow_id(fd)), "ctl"), "wb", buffering=0) as ctl:
        ctl.write(text)


def test_shutdown_write_is_end_of_file_after_the_rest(daemon, name):
    client, server = name.pair()
    os.write(client, b"rest")
    verb(daemon, client, b"shutdown write\n")
    assert [os.read(server, 9), os.read(server, 9)] == [b"rest", b""]
    with raises_errno(errno.EPIPE):
        os.write(client, b"x")
    os.write(server, b"the other way")
    assert os.read(client, 100) == b"the other way"


def test_shutdown_read_breaks_the_peers_pipe(daemon, name):
    client, server = name.pair()
    verb(daemon, client, b"shutdown read")
    with raises_errno(errno.EPIPE):
        os.write(server, b"x")
    assert os.read(client, 9) == b""
    os.write(client, b"the other way")
    assert os.read(server, 100) == b"the other way"


def test_the_state_as_a_number_is_that_of_the_word(daemon, name):
    words = ["none", "alloc-pending", "accept-pending", "allocated", "dealloc-pending",
             "deallocated"]

    def state(fd):
        word = read_text(daemon.path("flows", str(wire.flow_id(fd)), "state"))
        assert words[wire.state_number(fd)] == word
        return word
    waiting = name.open_accept(NONBLOCK)
    assert state(waiting) == "accept-pending"
    client = name.open_dial(NONBLOCK)
    wait_for(lambda: state(waiting) == "allocated", "the flow")
    assert state(client) == "allocated"
    data = track(os.open(daemon.path("flows", str(wire.flow_id(waiting)), "data"), os.O_RDONLY))
    close(client)
    wait_for(lambda: state(waiting) == "dealloc-pending", "the peer's end to show")
    verb(daemon, waiting, b"close")
    wait_for(lambda: words[wire.state_number(data)] == "deallocated", "the end to go")


def test_shutdown_wakes_those_who_wait(daemon, name):
    client, server = name.pair()
    reader = Child(os.read, server, 9, keep=[server]).wait_blocked("read")
    own = Child(os.read, client, 9, keep=[client]).wait_blocked("read")
    verb(daemon, client, b"shutdown write")
    assert reader.result() == b""
    verb(daemon, client, b"shutdown read")
    assert own.result() == b""


def test_close_destroys_the_end_and_hangs_up_on_the_peer(daemon, name):
    client, server = name.pair()
    waiting = Child(outcome, os.read, client, 9, keep=[client]).wait_blocked("read")
    verb(daemon, client, b"close")
    assert os.read(server, 9) == b""
    with raises_errno(errno.EPIPE):
        os.write(server, b"x")
    assert isinstance(waiting.result(), (str, bytes))
    with raises_errno(errno.ECONNABORTED, errno.ESHUTDOWN, errno.EPIPE):
        os.write(client, b"x")


def test_opening_without_the_right_is_eacces(name):
    for path in (name.dial, name.accept):
        with raises_errno(errno.EACCES):
            as_user(ALICE, os.open, path, os.O_RDWR)


def test_opening_with_half_the_right_gives_half(name):
    os.chmod(name.dial, 0o604)
    with raises_errno(errno.EACCES):
        as_user(ALICE, os.open, name.dial, os.O_WRONLY)
    assert as_user(ALICE, os.open, name.dial, os.O_RDONLY | os.O_NONBLOCK) >= 0


def test_o_excl_and_o_directory_behave(name):
    with raises_errno(errno.EEXIST):
        os.open(name.dial, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with raises_errno(errno.ENOTDIR):
        os.open(name.dial, os.O_RDONLY | os.O_DIRECTORY)


def test_o_path_opens_nothing(daemon, name):
    fd = os.open(name.dial, os.O_PATH)
    assert not daemon.flow_states()
    assert os.fstat(fd).st_size == 1048576
    os.close(fd)


def test_stat_and_ls_open_nothing(daemon, name):
    for _ in range(20):
        os.stat(name.dial)
        os.access(name.accept, os.R_OK)
    assert not daemon.flow_states()
    assert name.stats()["flows_ever"] == "0"


def test_the_stats_of_a_name_count(name):
    client, server = name.pair()
    for i in range(3):
        os.write(client, b"x" * 10)
    for _ in range(3):
        os.read(server, 10)
    os.write(server, b"y" * 7)
    os.read(client, 10)
    stats = name.stats()
    assert (stats["flows"], stats["flows_ever"]) == ("1", "1")
    close(client, server)
    wait_for(lambda: name.stats()["flows"] == "0", "no flow now")
    stats = {key: int(value) for key, value in name.stats().items()}
    assert stats["flows_ever"] == 1
    counted = sorted(value for key, value in stats.items() if "bytes" in key or "messages" in key)
    assert counted == [1, 3, 7, 30]


def test_the_stats_of_a_name_count_refusals_and_expiries(name):
    name.set("dial_timeout", 0)
    with raises_errno(errno.ECONNREFUSED):
        name.open_dial()
    name.set("dial_timeout", 1)
    with raises_errno(errno.ETIMEDOUT):
        name.open_dial()
    assert (name.stats()["refused"], name.stats()["timed_out"]) == ("1", "1")


def test_nonblock_after_the_flow_is_up_is_an_ordinary_flow(name):
    server = name.open_accept(NONBLOCK)
    client = name.open_dial(NONBLOCK)
    set_nonblock(server, False)
    set_nonblock(client, False)
    reader = Child(os.read, server, 9, keep=[server]).wait_blocked("read")
    os.write(client, b"x")
    assert reader.result() == b"x"
