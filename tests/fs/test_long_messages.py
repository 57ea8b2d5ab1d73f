# SPDX-License-Identifier: BSD-3-Clause
"""Messages longer than a request of 256 pages, where the kernel allows longer ones."""

import errno
import os

import pytest
import lib
from fixtures import need_mapping
from harness import close, set_nonblock
from lib import in_python
from procs import Child
from sysc import raises_errno

LIMIT = "/proc/sys/fs/fuse/max_pages_limit"
LONGEST = 20 * 1024 * 1024
CONFIG = f"[daemon]\nlongest_message = {LONGEST}\n"


@pytest.fixture
def pages():
    """Sets how many pages a request of new mounts may have."""
    if not os.path.exists(LIMIT):
        pytest.skip("this kernel has no fs.fuse.max_pages_limit (Linux 6.13)")
    with open(LIMIT, encoding="ascii") as file:
        before = file.read()

    def write(text):
        with open(LIMIT, "w", encoding="ascii") as file:
            file.write(text)
    yield lambda count: write(str(count))
    write(before)


@pytest.fixture
def long_name(fresh_daemon, pages):
    pages(LONGEST // 4096 + 32)
    name = fresh_daemon(CONFIG).start().name("long")
    os.mkdir(name.path)
    assert name.get("mtu") == "917504"
    name.set("mtu", LONGEST)
    return name


def pattern(length):
    return bytes(range(251)) * (length // 251) + bytes(length % 251)


def test_the_longest_message_is_one_read_and_one_more_byte_is_refused(long_name):
    client, server = long_name.pair()
    message = pattern(LONGEST)
    assert os.write(client, message) == LONGEST
    assert os.read(server, LONGEST + 1) == message
    with raises_errno(errno.EMSGSIZE):
        os.write(client, message + b"x")
    os.write(client, b"next")
    assert os.read(server, 10) == b"next"


def test_sixteen_segments_are_one_message(long_name):
    client, server = long_name.pair()
    message = memoryview(pattern(LONGEST))
    size = LONGEST // 16
    assert os.writev(client, [message[i * size:(i + 1) * size] for i in range(16)]) == LONGEST
    assert os.read(server, LONGEST) == message


def test_a_long_message_is_read_in_parts(long_name):
    client, server = long_name.pair()
    message = pattern(5_000_000)
    os.write(client, message)
    assert b"".join(os.read(server, 1_500_000) for _ in range(4)) == message


def test_the_size_shown_has_room_for_the_longest_write(long_name):
    """Else a second writer on a shared descriptor could not be killed."""
    long_name.set("depth", LONGEST)
    client, server = long_name.pair()
    assert os.fstat(client).st_size >= LONGEST
    message = pattern(LONGEST)
    os.write(client, message)
    waiting = [Child(os.write, client, message, keep=(client,)) for _ in range(2)]
    for child in waiting:
        child.wait_blocked("write")
    waiting[1].kill()
    waiting[1].reap()
    assert os.read(server, LONGEST) == message
    assert waiting[0].result() == LONGEST
    assert os.read(server, LONGEST) == message
    close(client)
    assert os.read(server, LONGEST) == b""


@in_python
def test_mapped_ends_have_the_same_mtu(long_name):
    need_mapping(long_name.daemon)
    accepting = long_name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    flow = lib.flowfs.dial(long_name.name, long_name.daemon.mount, timeout=10)
    set_nonblock(accepting, False)
    message = pattern(LONGEST)
    flow.send(message)
    assert flow.is_mapped
    assert os.read(accepting, LONGEST) == message
    with raises_errno(errno.EMSGSIZE):
        flow.send(message + b"x")
    flow.close()


def test_an_mtu_above_the_longest_message_is_out_of_range(long_name):
    with raises_errno(errno.ERANGE):
        long_name.set("mtu", LONGEST + 1)
    assert long_name.get("mtu") == str(LONGEST)


def test_a_kernel_that_does_not_allow_it_is_told_before_anything_is_mounted(fresh_daemon, pages):
    pages(1000)
    daemon = fresh_daemon(CONFIG).spawn()
    assert daemon.process.wait(10) == 1
    said = daemon.log()
    assert "longest_message" in said and "sysctl fs.fuse.max_pages_limit=5152" in said
