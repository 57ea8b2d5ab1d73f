# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs: members of a bus."""

import errno
import os
import select
import threading

import pytest
from buses import RECORD
from harness import close, is_sanitized, read_values, track
from lib import can_map, in_python, pair  # pylint: disable=unused-import
from procs import Child, paused, wait_for
from sysc import raises_errno

if not is_sanitized():
    import flowfs
    IN, OUT = flowfs.POLLIN, flowfs.POLLOUT

pytestmark = in_python

ALICE = 61001
LENGTHS = [1, 300, 3568, 3569, 70_000, 900_000]


def message_of(number, length):
    return (bytes((number + at * 7) % 256 for at in range(251)) * (length // 251 + 1))[:length]


@pytest.fixture(params=["file", "mapped"])
def mode(request):
    """What asks for that mode of a member."""
    if request.param == "mapped":
        request.getfixturevalue("can_map")
    return 1 if request.param == "file" else 0


@pytest.fixture
def join(mode, bus):
    """Makes members of the bus in one mode, and closes them."""
    made = []

    def make(flags=0):
        member = flowfs.join(bus.name, bus.daemon.mount, mode | flags)
        made.append(member)
        return member
    yield make
    for member in made:
        member.close()


def counts(bus, member):
    values = read_values(bus.file("port", str(member.id), "stats"))
    return {key: int(values[key]) for key in ("delivered", "dropped", "lag")}


# --- joining and leaving -------------------------------------------------------------------------

def test_everybody_but_the_sender_receives(join):
    sender, one, two = join(), join(), join()
    for number, length in enumerate(LENGTHS):
        message = message_of(number, length)
        sender.send(message, timeout=5)
        assert one.recv(5) == message and two.recv(5) == message
    with raises_errno(errno.EAGAIN):
        sender.recv(timeout=0)
    two.send(b"answer", timeout=5)
    assert sender.recv(5) == one.recv(5) == b"answer"


def test_members_are_files_to_others(bus, join):
    member = join()
    fd = bus.join()
    os.write(fd, b"from a shell")
    assert member.recv(5) == b"from a shell"
    member.send(b"from the library", timeout=5)
    assert os.read(fd, 100) == b"from the library"
    assert {member.id} < set(bus.members())
    close(fd)


def test_one_direction_alone(bus, join):
    sender, receiver = join(flowfs.SEND_ONLY), join(flowfs.RECEIVE_ONLY)
    assert {bus.members()[m.id].mode for m in (sender, receiver)} == {"w", "r"}
    sender.send(b"this way", timeout=5)
    assert receiver.recv(5) == b"this way"
    with raises_errno(errno.EBADF):
        receiver.send(b"not that", timeout=0)
    with raises_errno(errno.EBADF):
        sender.recv(timeout=0)


def test_who_may_not_join(bus, daemon):
    for flags in (flowfs.NO_POOL, 64, flowfs.RECEIVE_ONLY | flowfs.SEND_ONLY):
        with raises_errno(errno.EINVAL):
            flowfs.join(bus.name, daemon.mount, flags)
    for name in ("", ".", "..", "a/b"):
        with raises_errno(errno.EINVAL):
            flowfs.join(name, daemon.mount)
    with raises_errno(errno.ENOENT):
        flowfs.join("no-such-bus", daemon.mount)
    bus.set("ports", 1)
    with flowfs.join(bus.name, daemon.mount):
        with raises_errno(errno.EADDRNOTAVAIL):
            flowfs.join(bus.name, daemon.mount)


def test_the_number_of_members_is_a_limit_raised_and_lowered_while_running(bus, join):
    bus.set("ports", 2)
    join(flowfs.RECEIVE_ONLY), join(flowfs.SEND_ONLY)
    with raises_errno(errno.EADDRNOTAVAIL):
        join()
    bus.set("ports", 3)
    third = join()
    with raises_errno(errno.EBUSY):
        bus.set("ports", 2)
    third.close()
    bus.wait_members(2)
    bus.set("ports", 2)
    with raises_errno(errno.EADDRNOTAVAIL):
        join()


def test_the_port_of_a_killed_member_is_free_for_the_next(bus, join, mode):
    bus.set("ports", 1)
    (child,), _ = receivers(bus, mode, 1)
    with raises_errno(errno.EADDRNOTAVAIL):
        join()
    child.kill()
    child.reap()
    bus.wait_members(0)
    join()


def test_numbers_in_events_are_never_negative(bus, mode):
    def come_and_go():
        for flags in (flowfs.RECEIVE_ONLY, flowfs.SEND_ONLY, 0) * 3:
            flowfs.join(bus.name, bus.daemon.mount, mode | flags).close()
    events = track(os.open(bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    for child in [Child(come_and_go) for _ in range(3)]:
        child.result()
    bus.wait_members(0)
    lines = os.read(events, 1 << 20).decode().splitlines()
    bus.check_event_counts(lines)
    assert len(lines) == 54


NO, YES = errno.EACCES, 0


@pytest.mark.parametrize("mode_bits, expected", [
    (0o744, [NO, NO, YES]), (0o722, [NO, YES, NO]), (0o711, [NO, NO, NO]), (0o766, [YES, YES, YES])])
def test_the_modes_of_the_bus_decide(open_bus, daemon, mode_bits, expected):
    os.chmod(open_bus.bus, mode_bits)

    def try_all():
        seen = []
        for flags in (0, flowfs.SEND_ONLY, flowfs.RECEIVE_ONLY):
            try:
                flowfs.join(open_bus.name, daemon.mount, flags).close()
                seen.append(0)
            except OSError as error:
                seen.append(error.errno)
        return seen
    assert Child(try_all, uid=ALICE).result() == expected


@pytest.mark.parametrize("history, expected", [(0, [b"new"]), (2, [b"3", b"4", b"new"])])
def test_a_late_joiner_gets_the_history_and_what_is_sent_afterwards(bus, join, history, expected):
    bus.set("history", history)
    sender = join()
    for number in range(5):
        sender.send(b"%d" % number, timeout=5)
    wait_for(lambda: bus.stats()["sent"] == 5, "the bus to have taken what a mapped member sent")
    late = join()
    sender.send(b"new", timeout=5)
    assert [late.recv(5) for _ in expected] == expected
    with raises_errno(errno.EAGAIN):
        late.recv(timeout=0)


def test_what_it_says_of_itself(bus, join, request):
    member = join()
    assert member.is_mapped == ("mapped" in request.node.callspec.id)
    assert member.state == "allocated" and bus.members()[member.id].pid == os.getpid()
    raw = flowfs.Flow(member.handle())
    with raises_errno(errno.EOPNOTSUPP):
        print(raw.peer)
    raw._handle = None  # pylint: disable=protected-access
    member.close()
    bus.wait_members(0)


def test_who_blocks_a_lossless_bus_is_cut_off(bus, join):
    bus.set("delivery", "lossless")
    bus.set("depth", 2 * (100 + RECORD))
    bus.set("evict", 10_000)
    sender, slow = join(), join()
    for _ in range(3):
        sender.send(bytes(100), timeout=10)
    wait_for(lambda: slow.state == "deallocated", "the slow one to be cut off")
    for call in (lambda: slow.recv(timeout=5), lambda: slow.send(b"x", timeout=5), slow.skip):
        with raises_errno(errno.ECONNABORTED):
            call()


# --- shutting down -------------------------------------------------------------------------------

def test_who_shuts_down_receiving_finds_the_end(bus, join):
    bus.set("delivery", "lossless")
    member, other = join(), join()
    other.send(b"unread", timeout=5)
    wait_for(lambda: counts(bus, member)["lag"] == 1, "the bus to have taken it")
    with raises_errno(errno.EINVAL):
        member.shutdown(3)
    member.shutdown(flowfs.SHUT_RD)
    assert member.recv(5) == b"" and member.recv_many(2, 100, timeout=5) == []
    assert (counts(bus, member), bus.stats()["readers"]) == ({"delivered": 0, "dropped": 1, "lag": 0}, 1)
    member.send(b"still", timeout=5)
    assert other.recv(5) == b"still"
    member.shutdown(flowfs.SHUT_RD)
    with flowfs.Set() as waiting:
        waiting.add(member, IN)
        assert waiting.wait(timeout=5) == [(member, IN)]
    assert select_now(member.fileno(), IN) == IN


def test_who_shuts_down_sending_leaves_the_place_to_another(bus, join):
    bus.set("writers", 1)
    member = join()
    other = join(flowfs.RECEIVE_ONLY)
    member.send(b"before", timeout=5)
    member.shutdown(flowfs.SHUT_WR)
    with raises_errno(errno.EPIPE):
        member.send(b"x", timeout=5)
    assert other.recv(5) == b"before"
    with join(flowfs.SEND_ONLY) as another:
        another.send(b"after", timeout=5)
        assert member.recv(5) == other.recv(5) == b"after"
    assert (member.state, bus.members()[member.id].mode) == ("allocated", "r")


def test_who_shuts_down_both_has_left(bus, join):
    os.rename(bus.path, bus.path + "-before")
    os.rename(bus.path + "-before", bus.path)
    member, other = join(), join()
    member.send(b"the last", timeout=5)
    os.rename(bus.path, bus.path + "-after")
    member.shutdown(flowfs.SHUT_RDWR)
    os.rename(bus.path + "-after", bus.path)
    bus.wait_members(1)
    assert other.recv(5) == b"the last" and member.recv(5) == b""
    assert member.state == "deallocated"
    with raises_errno(errno.EPIPE):
        member.send(b"x", timeout=5)
    for how in (flowfs.SHUT_RD, flowfs.SHUT_WR, flowfs.SHUT_RDWR):
        member.shutdown(how)
    assert join().id == member.id, "the number is another's, and stays that"
    assert sorted(bus.members()) == [member.id, other.id]


def test_the_only_sender_of_a_log_shuts_down(bus, can_map):
    bus.set("writers", 1)
    mount = bus.daemon.mount
    with flowfs.join(bus.name, mount, flowfs.RECEIVE_ONLY) as reader, \
            flowfs.join(bus.name, mount, flowfs.SEND_ONLY) as first:
        first.send(b"first", timeout=5)
        assert reader.recv(5) == b"first"
        first.send(b"before", timeout=5)
        first.shutdown(flowfs.SHUT_WR)
        with raises_errno(errno.EPIPE):
            first.send(b"x", timeout=5)
        assert reader.recv(5) == b"before"
        with flowfs.join(bus.name, mount, flowfs.SEND_ONLY) as second:
            second.send(b"after", timeout=5)
            assert reader.recv(5) == b"after"
            waiting = Thread(lambda: reader.recv(20))
            reader.shutdown(flowfs.SHUT_RD)
            assert waiting.join() == b""
            second.send(b"to nobody", timeout=5)
        assert bus.stats()["delivered"] == 3


@pytest.mark.parametrize("waits", ["receiving", "sending"])
def test_shutting_down_ends_the_wait_of_another_thread(bus, join, waits):
    member, other = join(), join()
    if waits == "sending":
        sent = fill(bus, member, other)
        waiting = Thread(lambda: _error_of(lambda: member.send(bytes(1000), timeout=20)))
        member.shutdown(flowfs.SHUT_WR)
        assert waiting.join() == errno.EPIPE
        assert [len(other.recv(5)) for _ in range(sent)] == [1000] * sent
        wait_for(lambda: bus.stats()["writers"] == 1, "it is no writer")
    else:
        waiting = Thread(lambda: member.recv(20))
        member.shutdown(flowfs.SHUT_RD)
        assert waiting.join() == b""


def _error_of(call):
    try:
        return call()
    except OSError as error:
        return error.errno


def select_now(fd, events):
    """Which of them poll reports now."""
    poller = select.poll()
    poller.register(fd, events)
    return dict(poller.poll(0)).get(fd, 0)


# --- the calls -----------------------------------------------------------------------------------

def test_pieces_and_batches(join):
    sender, receiver = join(), join()
    sender.sendv([b"one", b"", bytearray(b" and "), b"two"], timeout=5)
    first, rest = bytearray(4), bytearray(100)
    assert receiver.recvv_into([first, rest], timeout=5) == 11
    assert bytes(first + rest[:7]) == b"one and two"
    messages = [message_of(number, 1 + number) for number in range(50)]
    assert sender.send_many(messages, timeout=5) == 50
    assert receiver.recv_many(64, 100, timeout=5) == messages
    with raises_errno(errno.EAGAIN):
        receiver.recv_many(64, 100, timeout=0)


def test_lengths_that_cannot_be(bus, join):
    sender, receiver = join(), join()
    with raises_errno(errno.EINVAL):
        sender.send(b"", timeout=0)
    for size in (917_505, 2**31):
        with raises_errno(errno.EMSGSIZE):
            sender.loan(size, timeout=0)
    with raises_errno(errno.EMSGSIZE):
        sender.send(bytes(917_505), timeout=0)
    sender.send(b"0123456789", timeout=5)
    with raises_errno(errno.EMSGSIZE):
        receiver.recv_into(bytearray(9), timeout=5)
    assert receiver.recv(5) == b"0123456789"


def test_messages_are_written_and_read_in_place(join):
    sender, receiver = join(), join()
    for number, length in enumerate(LENGTHS):
        message = message_of(number, length)
        with sender.loan(length, timeout=5) as loan:
            loan.data[:] = message
            with raises_errno(errno.EAGAIN):
                receiver.borrow(timeout=0)
            loan.commit()
        with receiver.borrow(timeout=5) as borrowed:
            assert borrowed.data == message and borrowed.data.readonly
    with sender.loan(100, timeout=5) as loan:
        with raises_errno(errno.EBUSY):
            sender.send(b"in front of it", timeout=5)
    sender.send(b"instead", timeout=5)
    assert receiver.recv(5) == b"instead"


def test_several_are_borrowed_at_once(join):
    sender, receiver = join(), join()
    messages = [message_of(number, length) for number, length in enumerate((10, 50_000, 3000))]
    for message in messages:
        sender.send(message, timeout=5)
    borrowed = [receiver.borrow(timeout=5) for _ in messages]
    sender.send(b"next", timeout=5)
    assert receiver.recv(5) == b"next"
    for place in (1, 0, 2):
        assert borrowed[place].data == messages[place]
        borrowed[place].release()


def test_what_was_overtaken_while_it_was_borrowed_is_not_believed(bus, can_map):
    bus.set("depth", 10_000)
    mount = bus.daemon.mount
    with flowfs.join(bus.name, mount) as sender, flowfs.join(bus.name, mount) as receiver:
        for text in (b"lost", b"kept"):
            sender.send(text, timeout=5)
        lost, kept = receiver.borrow(timeout=5), receiver.borrow(timeout=5)
        kept.forward(receiver, timeout=5)
        assert sender.recv(5) == b"kept"
        for _ in range(20):
            sender.send(bytes(1000), timeout=5)
        wait_for(lambda: bus.stats()["sent"] == 23, "the bus to have taken them all")
        with raises_errno(errno.ESTALE):
            lost.forward(receiver, timeout=5)
        with raises_errno(errno.ESTALE):
            lost.release()
        lost.release()  # it is over
        with raises_errno(errno.EAGAIN):
            sender.recv(timeout=0)


def test_members_stay_when_the_bus_is_renamed(bus, join):
    sender, receiver = join(), join()
    os.rename(bus.path, bus.path + "-renamed")
    sender.send(b"still here", timeout=5)
    assert receiver.recv(5) == b"still here"
    with flowfs.join(bus.name + "-renamed", bus.daemon.mount) as late:
        sender.send(b"for both", timeout=5)
        assert late.recv(5) == receiver.recv(5) == b"for both"


def test_messages_are_forwarded_between_a_bus_and_a_flow(name, join):
    sender, receiver = join(), join()
    client, server = pair(name)
    sender.send(b"onto the flow", timeout=5)
    receiver.borrow(timeout=5).forward(client, timeout=5)
    server.borrow(timeout=5).forward(receiver, timeout=5)
    assert sender.recv(5) == b"onto the flow"
    client.close()
    server.close()


def fill(bus, sender, receiver):
    """Sends to a lossless bus as long as there is room: how many messages."""
    bus.set("delivery", "lossless")
    bus.set("depth", 20 * (1000 + RECORD))
    for _ in range(20):
        sender.send(bytes(1000), timeout=5)
    wait_for(lambda: counts(bus, receiver)["lag"] == 20, "the bus to be full")
    sent = 20
    with raises_errno(errno.EAGAIN):  # a mapped one has room of its own
        while True:
            sender.send(bytes(1000), timeout=0)
            sent += 1
    return sent


def test_a_lossless_sender_waits_for_room(bus, join):
    sender, receiver = join(), join()
    sent = fill(bus, sender, receiver)
    with raises_errno(errno.ETIMEDOUT):
        sender.send(bytes(1000), timeout=0.05)
    waiting = Thread(lambda: sender.send(b"room", timeout=20))
    assert [len(receiver.recv(5)) for _ in range(sent)] == [1000] * sent
    waiting.join()
    assert receiver.recv(5) == b"room"


def test_a_lossy_sender_does_not_wait_for_readers(bus, join):
    bus.set("depth", 20_000)
    sender, receiver = join(), join()
    for number in range(1000):
        sender.send(b"%0*d" % (100, number), timeout=0 if not sender.is_mapped else 10)
    wait_for(lambda: bus.stats()["sent"] == 1000, "the bus to have taken them all")
    got = []
    with raises_errno(errno.EAGAIN):
        while True:
            got.append(int(receiver.recv(timeout=0)))
    assert got == list(range(1000 - len(got), 1000)) and 10 < len(got) < 400
    found = {"delivered": len(got), "dropped": 1000 - len(got), "lag": 0}
    wait_for(lambda: counts(bus, receiver) == found, "the account of the receiver")


def test_a_lossless_bus_without_receivers_never_waits(bus, join):
    bus.set("delivery", "lossless")
    bus.set("depth", 2 * (100 + RECORD))
    sender = join(flowfs.SEND_ONLY)
    for _ in range(1000):
        sender.send(bytes(100), timeout=10 if sender.is_mapped else 0)
    wait_for(lambda: bus.stats()["sent"] == 1000, "the bus to have taken them all")
    assert (bus.stats()["delivered"], bus.stats()["dropped"]) == (0, 0)


def text(number):
    return b"%010d" % number


def receive_to_the_end(bus, mode, joined):
    """Joins, says so, and receives numbers until the message that ends it."""
    with flowfs.join(bus.name, bus.daemon.mount, mode | flowfs.RECEIVE_ONLY) as member:
        os.write(joined, b"x")
        numbers = []
        while (message := member.recv(60)) != b"end":
            numbers.append(int(message))
        return numbers


def receivers(bus, mode, count):
    """Processes that receive, and their ports."""
    heard, joined = os.pipe()
    children = [Child(receive_to_the_end, bus, mode, joined, keep=[joined]) for _ in range(count)]
    for _ in children:
        assert os.read(heard, 1) == b"x"
    for fd in heard, joined:
        os.close(fd)
    ports = {member.pid: member.port for member in bus.members().values()}
    return children, [ports[child.pid] for child in children]


def test_a_stopped_receiver_of_a_lossy_bus_loses_and_nobody_else_notices(bus, join, mode):
    count, batch = 10_000, 400
    bus.set("depth", 2 * batch * (10 + RECORD))
    (slow, *quick), (slow_port, *quick_ports) = receivers(bus, mode, 3)
    sender = join(flowfs.SEND_ONLY)
    with paused(slow.pid):
        for first in range(0, count, batch):
            for number in range(first, first + batch):
                sender.send(text(number), timeout=10)
            wait_for(lambda sent=first + batch: [
                (one.delivered, one.lag) for one in map(bus.members().get, quick_ports)] == [(sent, 0)] * 2,
                "the quick ones")
        sender.send(b"end", timeout=10)
        wait_for(lambda: bus.stats()["sent"] == count + 1, "the bus to have taken it")
        members = bus.members()
        lost = members[slow_port].dropped
        assert lost > 0 and members[slow_port].delivered + members[slow_port].lag + lost == count + 1
        assert bus.stats()["dropped"] == lost, "nobody else has lost anything"
    for child in quick:
        assert child.result() == list(range(count))
    assert slow.result() == list(range(lost, count)), "all but exactly what was counted"
    bus.wait_members(1)
    assert (bus.stats()["dropped"], bus.stats()["delivered"]) == (lost, 3 * (count + 1) - lost)


def test_a_stopped_receiver_of_a_lossless_bus_makes_senders_wait(bus, join, mode):
    bus.set("delivery", "lossless")
    bus.set("depth", 10 * (10 + RECORD))
    (slow, quick), (slow_port, quick_port) = receivers(bus, mode, 2)
    sender, sent = join(flowfs.SEND_ONLY), 0
    poller = select.poll()
    poller.register(sender, select.POLLOUT)
    with paused(slow.pid):
        # A mapped one has room of its own; what it finds full at first the bus may still be emptying.
        for _ in range(2):
            with raises_errno(errno.EAGAIN):
                while True:
                    sender.send(text(sent), timeout=0)
                    sent += 1
            wait_for(lambda: bus.members()[slow_port].lag == 10 and bus.members()[quick_port].lag == 0, "a full bus")
        wait_for(lambda: poller.poll(0) == [], "the daemon to see that there is no room")
        with raises_errno(errno.ETIMEDOUT):
            sender.send(text(sent), timeout=0.05)
    assert poller.poll(10_000) == [(sender.fileno(), select.POLLOUT)]
    sender.send(text(sent), timeout=10)
    sender.send(b"end", timeout=10)
    assert slow.result() == quick.result() == list(range(sent + 1))
    assert bus.stats()["dropped"] == 0


def test_the_newest_alone(bus, join):
    sender, receiver = join(), join()
    assert receiver.skip() == 0
    for number in range(10):
        sender.send(b"%d" % number, timeout=5)
    wait_for(lambda: counts(bus, receiver)["lag"] == 10, "all to be there")
    assert receiver.skip() == 9
    assert receiver.recv(5) == b"9"
    with raises_errno(errno.EAGAIN):
        receiver.recv(timeout=0)
    wait_for(lambda: counts(bus, receiver)["lag"] == 0, "the account of the receiver")
    assert counts(bus, receiver) == {"delivered": 1, "dropped": 9, "lag": 0}


def test_a_flow_skips_nothing(name):
    client, server = pair(name, 1, 1)
    raw = flowfs.Member(client.handle())
    with raises_errno(errno.EOPNOTSUPP):
        raw.skip()
    raw._handle = None  # pylint: disable=protected-access
    client.close()
    server.close()


FRAME = 4 << 20


def test_frames_of_four_megabytes_reach_eight_readers_in_place(bus, can_map):
    bus.set("depth", 4 * FRAME)
    bus.set("mtu", FRAME)
    mount = bus.daemon.mount
    sender = flowfs.join(bus.name, mount, flowfs.SEND_ONLY)
    readers = [flowfs.join(bus.name, mount, flowfs.RECEIVE_ONLY) for _ in range(8)]
    for number in range(6):
        with sender.loan(FRAME, timeout=10) as loan:
            loan.data[:] = frame = message_of(number, FRAME)
            loan.commit()
        for reader in readers:
            with reader.borrow(timeout=10) as borrowed:
                assert borrowed.data == frame
    for member in (sender, *readers):
        member.close()


# --- written by its only sender ------------------------------------------------------------------

@pytest.fixture
def alone(bus, can_map):
    """Makes senders, one after the other, each of which writes the log itself; and receivers."""
    bus.set("writers", 1)
    made = []

    def make(flags=flowfs.RECEIVE_ONLY):
        member = flowfs.join(bus.name, bus.daemon.mount, flags)
        assert member.is_mapped
        made.append(member)
        return member
    yield make
    for member in made:
        member.close()


def send_alone(bus, alone):
    sender = alone(flowfs.SEND_ONLY)
    with raises_errno(errno.EBUSY):
        bus.set("writers", 2)  # only where the log is the sender's own
    return sender


def test_what_the_only_sender_lays_down_all_read(bus, alone):
    early, file = alone(), bus.reader()
    sender, late = send_alone(bus, alone), alone()
    for number, length in enumerate(LENGTHS):
        message = message_of(number, length)
        sender.send(message, timeout=5)
        assert early.recv(5) == late.recv(5) == os.read(file, 1 << 20) == message
    with sender.loan(100, timeout=5) as loan:
        loan.data[:] = message_of(3, 100)
        loan.commit()
    with early.borrow(timeout=5) as borrowed:
        assert borrowed.data == message_of(3, 100)
    assert sender.send_many([b"1", b"2"], timeout=5) == 2
    assert early.recv_many(8, 100, timeout=5) == [b"1", b"2"]
    for reader in early, late:
        found = counts(bus, reader)
        assert sum(found.values()) == len(LENGTHS) + 3 and found["dropped"] == 0
    bus.check_accounts()


def test_receivers_go_on_with_the_next_sender(bus, alone):
    receiver, other = alone(), alone()
    number = 0
    for _ in range(4):
        sender = send_alone(bus, alone)
        for _ in range(3):
            sender.send(b"%d" % number, timeout=5)
            assert receiver.recv(5) == b"%d" % number
            number += 1
        sender.close()
        bus.wait_members(2)
    assert counts(bus, receiver) == {"delivered": 12, "dropped": 0, "lag": 0}
    # It read nothing meanwhile: of the logs before nothing is left.
    with raises_errno(errno.EAGAIN):
        other.recv(timeout=0)
    assert sum(counts(bus, other).values()) == 12 and counts(bus, other)["lag"] == 0


def test_members_are_mapped_while_senders_come_and_go(bus, can_map):
    """The log is another one each time, also between what a member is told of it and its opening."""
    bus.set("writers", 1)
    over = threading.Event()
    mapped = []

    def send():
        while not over.is_set():
            try:
                sender = flowfs.join(bus.name, bus.daemon.mount, flowfs.SEND_ONLY)
            except OSError as error:
                assert error.errno == errno.EBUSY  # the one before has not gone yet
                continue
            mapped.append(sender.is_mapped)
            sender.send(b"here", timeout=5)
            sender.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(50):
            with flowfs.join(bus.name, bus.daemon.mount, flowfs.RECEIVE_ONLY) as receiver:
                mapped.append(receiver.is_mapped)
        wait_for(lambda: len(mapped) > 50, "a sender")
    finally:
        over.set()
        thread.join()
    assert all(mapped)
    bus.wait_members(0)
    bus.check_accounts()


def test_a_sender_that_is_killed_leaves_whole_messages_to_those_who_wait(bus, alone):
    receiver, file = alone(), bus.reader()

    def send():
        member = flowfs.join(bus.name, bus.daemon.mount, flowfs.SEND_ONLY)
        for number in range(10**9):
            member.send(message_of(number, 1000), timeout=5)
            if number == 0:
                os.write(begun, b"x")

    ready, begun = os.pipe()
    for _ in range(3):
        child = Child(send, keep=(begun,))
        assert os.read(ready, 1) == b"x"
        first = receiver.recv(5)
        child.kill()
        child.reap()
        assert len(first) == 1000
        bus.wait_members(2)
        with raises_errno(errno.EAGAIN):
            while True:
                assert len(receiver.recv(timeout=0)) == 1000
        found = counts(bus, receiver)
        assert found["lag"] == 0 and found["delivered"] + found["dropped"] == bus.stats()["sent"]
    for fd in ready, begun:
        os.close(fd)
    assert len(os.read(file, 2000)) == 1000
    bus.check_accounts()


def test_poll_and_sets_hear_of_the_only_sender(bus, alone):
    receiver, sender = alone(), send_alone(bus, alone)
    poller = select.poll()
    poller.register(receiver, select.POLLIN)
    with flowfs.Set() as waiting:
        waiting.add(receiver)
        for number in range(20):
            assert poller.poll(0) == []
            sending = Thread(lambda: sender.send(b"%d" % number, timeout=5))
            if number % 2:
                assert poller.poll(5000) == [(receiver.fileno(), select.POLLIN)]
            else:
                assert waiting.wait(timeout=5) == [(receiver, IN)]
            sending.join()
            assert receiver.recv(timeout=0) == b"%d" % number
        waiting.remove(receiver)


# --- waiting -------------------------------------------------------------------------------------

class Thread(threading.Thread):
    """Runs at once; join() returns what it returns, or raises what it raises."""

    def __init__(self, body):
        super().__init__()
        self._body, self._error, self._result = body, None, None
        self.start()

    def run(self):
        try:
            self._result = self._body()
        except BaseException as error:  # pylint: disable=broad-except
            self._error = error

    def join(self, timeout=None):
        super().join(timeout)
        if self._error:
            raise self._error
        return self._result


def test_a_waiting_receiver_gets_the_message(join):
    sender, receiver = join(), join()
    with raises_errno(errno.ETIMEDOUT):
        receiver.recv(timeout=0.05)
    for number in range(50):
        sending = Thread(lambda: sender.send(b"%d" % number, timeout=5))
        assert receiver.recv(10) == b"%d" % number
        sending.join()


def test_poll_says_what_the_calls_would_do(join):
    sender, receiver = join(), join()
    poller = select.poll()
    poller.register(receiver, select.POLLIN)
    for number in range(20):
        with raises_errno(errno.EAGAIN):
            receiver.recv(timeout=0)
        assert poller.poll(0) == []
        sending = Thread(lambda: sender.send(b"%d" % number, timeout=5))
        assert poller.poll(5000) == [(receiver.fileno(), select.POLLIN)]
        sending.join()
        assert receiver.recv(timeout=0) == b"%d" % number


def test_poll_and_sets_hear_of_room(bus, join):
    sender, receiver = join(), join()
    assert sender.fileno() >= 0
    sent = fill(bus, sender, receiver)
    poller = select.poll()
    poller.register(sender, select.POLLOUT)
    with flowfs.Set() as waiting:
        waiting.add(sender, OUT)
        # The bell that tells the daemon of a lane that it cannot empty may still be on its way.
        wait_for(lambda: poller.poll(0) == [], "the daemon to see that there is no room")
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)
        for _ in range(sent):
            receiver.recv(5)
        assert poller.poll(10_000) == [(sender.fileno(), select.POLLOUT)]
        assert waiting.wait(timeout=10) == [(sender, OUT)]
        waiting.remove(sender)


def test_a_set_of_flows_and_buses(name, join):
    sender, receiver = join(), join()
    client, server = pair(name)
    with flowfs.Set() as waiting:
        waiting.add(receiver)
        waiting.add(server)
        with raises_errno(errno.ETIMEDOUT):
            waiting.wait(timeout=0.02)
        for number in range(30):
            to, told = ((sender, receiver), (client, server))[number % 2]
            sending = Thread(lambda: to.send(b"wake", timeout=5))
            assert waiting.wait(timeout=20) == [(told, IN)]
            assert told.recv(0) == b"wake"
            sending.join()
        waiting.remove(receiver)
        waiting.add(sender, IN | OUT)
        assert waiting.wait(timeout=5) == [(sender, OUT)]
    client.close()
    server.close()


def test_a_forked_child_is_no_member(join):
    sender, receiver = join(), join()
    sender.send(b"for the parent", timeout=5)
    borrowed = receiver.borrow(timeout=5)

    def use():
        seen = []
        for call in (lambda: receiver.recv(0), lambda: sender.send(b"x", 0), receiver.skip,
                     lambda: receiver.state, lambda: borrowed.forward(sender)):
            try:
                call()
                seen.append(0)
            except OSError as error:
                seen.append(error.errno)
        return seen
    assert Child(use).result() == [errno.EBADF] * 5
    assert borrowed.data == b"for the parent"
    borrowed.release()
    sender.send(b"still", timeout=5)
    assert receiver.recv(5) == b"still"
