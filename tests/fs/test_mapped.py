# SPDX-License-Identifier: BSD-3-Clause
"""tx and rx: what may map them and how, attaching, and a mapped program that talks to a `cat`."""

import errno
import mmap
import os
import select
import stat
import struct

import pytest
import wire
from fixtures import need_mapping
from harness import close, is_sanitized, read_values, set_nonblock, track
from mapped import Attached, MappedEnd, protect
from procs import Child, as_user, wait_for
from sysc import raises_errno

ALICE = 61001


@pytest.fixture(autouse=True)
def through_the_mount(daemon):
    """Mapping through the mount needs passthrough in the kernel and root."""
    need_mapping(daemon)


@pytest.fixture
def flow(name):
    return name.pair()


def segment(daemon, fd, file):
    return daemon.path("flows", str(wire.flow_id(fd)), file)


def open_segment(daemon, fd, file, flags):
    return track(os.open(segment(daemon, fd, file), flags))


# --- the files ---------------------------------------------------------------------------------

def test_the_directory_has_both_with_their_modes(daemon, flow):
    for file, mode in (("tx", 0o600), ("rx", 0o400)):
        found = os.stat(segment(daemon, flow[0], file))
        assert stat.S_IMODE(found.st_mode) == mode


def test_an_open_segment_has_its_real_size_and_a_header(daemon, flow):
    fd = open_segment(daemon, flow[0], "tx", os.O_RDWR)
    size = os.fstat(fd).st_size
    assert size > 4096 and size % 4096 == 0
    with mmap.mmap(fd, size, mmap.MAP_SHARED) as memory:
        magic, version, header_bytes = struct.unpack_from("=QII", memory)
    assert magic == wire.numbers()["SEGMENT_MAGIC"]
    assert (version, header_bytes) == (wire.numbers()["LAYOUT_VERSION"], 4096)


def test_rx_is_the_peers_tx(daemon, flow):
    tx = open_segment(daemon, flow[0], "tx", os.O_RDWR)
    rx = open_segment(daemon, flow[1], "rx", os.O_RDONLY)
    with mmap.mmap(tx, 4096, mmap.MAP_SHARED) as mine, \
            mmap.mmap(rx, 4096, mmap.MAP_SHARED, mmap.PROT_READ) as theirs:
        struct.pack_into("=I", mine, 4000, 0xABCD)  # reserved: nobody looks at it
        assert struct.unpack_from("=I", theirs, 4000) == (0xABCD,)


def test_rx_is_never_writable(daemon, flow):
    with raises_errno(errno.EACCES):
        os.open(segment(daemon, flow[0], "rx"), os.O_RDWR)
    rx = open_segment(daemon, flow[0], "rx", os.O_RDONLY)
    assert protect(rx, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) == ("mmap", errno.EACCES)
    assert protect(rx, mmap.MAP_SHARED, mmap.PROT_READ) == ("mprotect", errno.EACCES)


def test_a_read_only_tx_maps_read_only(daemon, flow):
    tx = open_segment(daemon, flow[0], "tx", os.O_RDONLY)
    assert protect(tx, mmap.MAP_SHARED, mmap.PROT_READ) == ("mprotect", errno.EACCES)
    with raises_errno(errno.EBADF, errno.EACCES, errno.EINVAL, errno.EPERM):
        Attached(tx)


def test_it_cannot_be_reopened_with_more_rights(daemon, flow):
    rx = open_segment(daemon, flow[0], "rx", os.O_RDONLY)
    with raises_errno(errno.EACCES):
        os.open(f"/proc/self/fd/{rx}", os.O_RDWR)


def test_it_cannot_be_executed_truncated_or_punched(daemon, flow):
    tx = open_segment(daemon, flow[0], "tx", os.O_RDWR)
    size = os.fstat(tx).st_size
    with pytest.raises(OSError):
        os.ftruncate(tx, 0)
    with pytest.raises(OSError):
        os.posix_fallocate(tx, 0, 2 * size)
    assert protect(tx, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_EXEC)[0] == "mmap"
    assert os.fstat(tx).st_size == size


def test_read_and_write_are_no_way_in(daemon, flow):
    tx = open_segment(daemon, flow[0], "tx", os.O_RDWR)
    with raises_errno(errno.EINVAL):
        os.write(tx, b"x")
    with raises_errno(errno.EINVAL):
        os.read(tx, 16)


def test_a_stranger_opens_neither(daemon, flow):
    for file in ("tx", "rx"):
        with raises_errno(errno.EACCES):
            as_user(ALICE, os.open, segment(daemon, flow[0], file), os.O_RDONLY)


def test_the_owner_maps_his_own(daemon, open_name):
    def dial():
        fd = os.open(open_name.dial, os.O_RDWR)
        end = MappedEnd(daemon, fd)
        end.send(b"from alice")
        answer = end.receive()
        return answer
    child = Child(dial, uid=ALICE)
    server = open_name.open_accept()
    assert os.read(server, 100) == b"from alice"
    os.write(server, b"to alice")
    assert child.result() == b"to alice"


def test_opening_changes_nothing_else(daemon, flow):
    os.write(flow[0], b"before")
    for fd in flow:
        for file, flags in (("tx", os.O_RDWR), ("rx", os.O_RDONLY)):
            open_segment(daemon, fd, file, flags)
    os.write(flow[0], b"after")
    assert [os.read(flow[1], 100), os.read(flow[1], 100)] == [b"before", b"after"]
    os.write(flow[1], b"back")
    assert os.read(flow[0], 100) == b"back"


# --- attaching ---------------------------------------------------------------------------------

def test_attach_tells_where_to_go_on(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    assert end.at["flow"] == wire.flow_id(flow[0])
    assert end.at["peer_flow"] == wire.flow_id(flow[1])
    assert end.at["version"] == wire.numbers()["LAYOUT_VERSION"]
    assert end.at["mtu_bytes"] == 917504 and end.at["uid"] == 0


def test_a_second_attach_is_busy(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    with raises_errno(errno.EBUSY):
        Attached(end.tx_fd)
    with raises_errno(errno.EBUSY):
        Attached(open_segment(daemon, flow[0], "tx", os.O_RDWR))


def test_message_descriptors_of_a_mapped_end_are_busy_and_still_poll(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    with raises_errno(errno.EBUSY):
        os.read(flow[0], 1)
    with raises_errno(errno.EBUSY):
        os.write(flow[0], b"x")
    close(flow[1])
    poller = select.poll()
    poller.register(flow[0], select.POLLIN)
    (_, found), = poller.poll(5000)
    assert found & select.POLLHUP
    end.close()


def test_a_reader_that_waits_is_sent_away_by_attach(daemon, flow):
    reader = Child(os.read, flow[0], 9, keep=[flow[0]]).wait_blocked("read")
    end = MappedEnd(daemon, flow[0])
    with raises_errno(errno.EBUSY):
        reader.result()
    end.close()


def test_closing_tx_puts_the_end_back_into_file_mode(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    end.send(b"mapped")
    assert os.read(flow[1], 100) == b"mapped"
    end.close()

    def usable():
        try:
            return os.write(flow[0], b"file again")
        except OSError as error:
            assert error.errno == errno.EBUSY  # the release of tx is on its way
            return 0
    wait_for(usable, "file mode again")
    assert os.read(flow[1], 100) == b"file again"


def test_modes_can_be_changed_many_times(daemon, flow):
    set_nonblock(flow[0])
    for i in range(20):
        end = MappedEnd(daemon, flow[0])
        end.send(b"%d" % i)
        assert os.read(flow[1], 9) == b"%d" % i
        end.close()
        wait_for(lambda: _file_write(flow[0], b"f"), "file mode again")
        assert os.read(flow[1], 9) == b"f"


def _file_write(fd, data):
    try:
        return os.write(fd, data)
    except OSError as error:
        assert error.errno in (errno.EBUSY, errno.EAGAIN)
        return 0


# --- a mapped program and a file ---------------------------------------------------------------

def test_a_mapped_program_sends_to_a_file(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    for i in range(50):
        end.send(b"message %d" % i)
    assert [os.read(flow[1], 100) for _ in range(50)] == [b"message %d" % i for i in range(50)]


def test_a_file_reader_that_waits_is_woken_by_the_bell(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    for i in range(20):
        reader = Child(os.read, flow[1], 100, keep=[flow[1]]).wait_blocked("read")
        end.send(b"%d" % i)
        assert reader.result() == b"%d" % i


def test_a_poller_is_woken_by_the_bell(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    set_nonblock(flow[1])
    with select.epoll() as epoll:
        epoll.register(flow[1], select.EPOLLIN | select.EPOLLET)
        for i in range(20):
            with raises_errno(errno.EAGAIN):
                os.read(flow[1], 9)
            end.send(b"%d" % i)
            assert epoll.poll(5)
            assert os.read(flow[1], 9) == b"%d" % i


def test_a_file_sends_to_a_mapped_program(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    for i in range(50):
        os.write(flow[1], b"message %d" % i)
        assert end.receive() == b"message %d" % i


def test_messages_written_before_attach_are_not_lost(daemon, flow):
    os.write(flow[1], b"early")
    os.write(flow[0], b"sent as a file")
    end = MappedEnd(daemon, flow[0])
    assert end.receive() == b"early"
    end.send(b"sent mapped")
    assert [os.read(flow[1], 100), os.read(flow[1], 100)] == [b"sent as a file", b"sent mapped"]


def test_a_partly_read_message_is_delivered_whole_again(daemon, flow):
    os.write(flow[1], b"abcdef")
    assert os.read(flow[0], 2) == b"ab"
    assert MappedEnd(daemon, flow[0]).receive() == b"abcdef"


def test_two_mapped_ends_talk_without_the_daemon(daemon, flow):
    one, two = MappedEnd(daemon, flow[0]), MappedEnd(daemon, flow[1])
    daemon.process.send_signal(19)  # SIGSTOP: the path must not lead through it
    try:
        one.at["peer_generation"], two.at["peer_generation"] = two.at["generation"], one.at["generation"]
        for i in range(50):
            one.send(b"%d" % i)
            assert two.receive() == b"%d" % i
            two.send(b"re %d" % i)
            assert one.receive() == b"re %d" % i
    finally:
        daemon.process.send_signal(18)


def test_the_end_of_a_mapped_program_is_end_of_file_after_the_rest(daemon, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    sent, sending = os.pipe()

    def send_and_wait():
        fd = os.open(name.dial, os.O_RDWR)
        end = MappedEnd(daemon, fd)
        end.send(b"one")
        end.send(b"two")
        os.write(sending, b".")
        select.select([], [], [])
    client = Child(send_and_wait, keep=(sending,))
    os.close(sending)
    assert os.read(sent, 1) == b"."
    os.close(sent)
    set_nonblock(server, False)
    assert os.read(server, 100) == b"one"
    client.kill()
    client.reap()
    assert [os.read(server, 100), os.read(server, 100)] == [b"two", b""]


def test_what_is_written_after_the_end_is_not_believed(daemon, flow):
    """A mapping outlives its descriptors; what comes through it then is nobody's."""
    end = MappedEnd(daemon, flow[0])
    end.send(b"real")
    position, sequence = end.at["write_hot"], end.at["write_sequence"]
    os.close(end.tx_fd), os.close(end.rx_fd)
    close(flow[0])
    wait_for(lambda: not os.path.exists(end.folder), "the end gone")
    end.at["write_hot"], end.at["write_sequence"] = position, sequence
    end.send(b"ghost")
    end.ring()
    assert [os.read(flow[1], 100), os.read(flow[1], 100)] == [b"real", b""]


def test_a_lying_peer_poisons_its_own_flow_only(daemon, name, flow):
    end = MappedEnd(daemon, flow[0])
    other = name.pair()
    place = end.at["hot_offset"] + end.at["write_hot"] % end.at["hot_bytes"]
    struct.pack_into("=IHHQ", end.tx, place, 0x7FFFFFFF, 0xFFFF, 0, 77)
    end.ring()
    with raises_errno(errno.EPROTO):
        os.read(flow[1], 100)
    os.write(other[0], b"fine")
    assert os.read(other[1], 10) == b"fine"


def test_the_descriptors_of_mapped_flows_are_given_back(daemon, name):
    def use(count):
        for _ in range(count):
            client, server = name.pair()
            end = MappedEnd(daemon, client)
            end.send(b"x")
            assert os.read(server, 1) == b"x"
            end.close()
            close(client, server)
        wait_for(lambda: not daemon.flow_states(), "no flows")
    use(50)
    before, memory = daemon.descriptors(), daemon.memory_kib()
    use(500)
    daemon.wait_descriptors(before)
    if not is_sanitized():
        assert daemon.memory_kib() <= memory + 2048


# --- what is counted -----------------------------------------------------------------------------

def _stats(daemon, fd):
    found = read_values(daemon.path("flows", str(wire.flow_id(fd)), "stats"))
    return {key: int(value) for key, value in found.items()}


def _sent(daemon, fd):
    stats = _stats(daemon, fd)
    return stats["messages_sent"], stats["bytes_sent"], stats["drops"]


def test_the_stats_of_a_name_count_a_mapped_sender(daemon, name):
    client, server = name.pair()
    end = MappedEnd(daemon, client)
    for _ in range(5):
        end.send(b"x" * 10)
    for _ in range(5):
        assert os.read(server, 7) + os.read(server, 7) == b"x" * 10
    assert _sent(daemon, client) == (5, 50, 0)
    stats = name.stats()
    assert (stats["messages_from_client"], stats["bytes_from_client"]) == ("5", "50")


def test_the_stats_of_a_name_count_what_a_mapped_sender_left(daemon, name):
    client, server = name.pair()
    end = MappedEnd(daemon, server)
    end.send(b"one")
    end.send(b"two")
    end.close()
    close(server)
    assert [os.read(client, 9) for _ in range(3)] == [b"one", b"two", b""]
    stats = name.stats()
    assert (stats["messages_to_client"], stats["bytes_to_client"]) == ("2", "6")


@pytest.mark.parametrize("tx_first", [False, True])
def test_what_a_mapped_receiver_has_not_read_is_dropped(daemon, flow, tx_first):
    end = MappedEnd(daemon, flow[1])
    for _ in range(5):
        os.write(flow[0], b"x")
    assert end.receive() == b"x"
    if tx_first:
        end.close()
    close(flow[1])
    wait_for(lambda: _sent(daemon, flow[0]) == (5, 5, 4), "four drops")


def test_what_a_file_has_not_read_of_a_mapped_sender_is_dropped(daemon, name):
    client, server = name.pair()
    end = MappedEnd(daemon, client)
    for _ in range(5):
        end.send(b"abcdef")
    assert os.read(server, 3) == b"abc"
    close(server)
    wait_for(lambda: _sent(daemon, client) == (5, 30, 5), "five drops")
    wait_for(lambda: name.stats()["messages_from_client"] == "5", "all in the stats of the name")


def _bytes_used(daemon):
    return int(daemon.usage(0)["bytes"])


def test_what_the_daemon_holds_is_charged_whoever_wrote_it(daemon, flow):
    track(os.open(segment(daemon, flow[0], "tx"), os.O_RDWR))  # both segments are charged from here
    base = _bytes_used(daemon)
    os.write(flow[0], b"a" * 100)
    assert _bytes_used(daemon) == base + 100
    end = MappedEnd(daemon, flow[0])
    assert _bytes_used(daemon) == base  # it has moved into the lane
    end.send(b"b" * 30)
    end.close()
    wait_for(lambda: _bytes_used(daemon) == base + 130, "what came out of the lane is charged")
    assert [len(os.read(flow[1], 200)) for _ in range(2)] == [100, 30]
    assert _bytes_used(daemon) == base
