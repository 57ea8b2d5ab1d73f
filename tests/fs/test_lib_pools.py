# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs and pools: who shares one, how often a message is copied, what is left behind."""

import contextlib
import errno
import itertools
import os
import random
import signal
import threading

import figures
import pytest
from fixtures import long_run
from harness import close, is_sanitized, read_values, set_nonblock
from lib import FILE, NO_POOL, can_map, in_python, pair, seeds  # pylint: disable=unused-import
from procs import Child, wait_for
from sysc import raises_errno

if not is_sanitized():
    import flowfs

pytestmark = in_python

ROOT, ALICE, BOB, MEMBER, OTHER_MEMBER = 0, 61001, 61002, 61003, 61004
GROUP = 61900
SIZES = ((4096, 64), (65536, 32), (1048576, 8))
NAMED = " ".join(f"{size}:{count}" for size, count in SIZES)
LENGTH = 50_000


@pytest.fixture(scope="module")
def config():
    return f"[daemon]\ngroup = '{GROUP}'\n[pools]\nshared = '{NAMED}'\npersonal = '{NAMED}'\n"


def groups_of(uid):
    return [GROUP] if uid in (MEMBER, OTHER_MEMBER) else []


def blocks(daemon, pool, state):
    """How many blocks of a pool are in a state, as `metrics` tells."""
    return sum(int(value) for (name, labels), value in daemon.metrics().items()
               if name == "flowfs_pool_blocks" and ("pool", str(pool)) in labels
               and ("state", state) in labels)


# A process that lives keeps a few blocks at hand: a 32nd of each size.
AT_HAND = sum(count // 32 for _, count in SIZES)


def wait_all_free(daemon, pool, at_hand=0):
    """Nothing of it is in flight, and no more held; or it has gone, with whoever used it."""
    wait_for(lambda: blocks(daemon, pool, "in_flight") == 0
             and blocks(daemon, pool, "held") <= at_hand, f"all blocks of {pool} free")


def fill(number, length=LENGTH):
    return bytes([number % 251]) * length


def lend(flow, message):
    with flow.loan(len(message), timeout=10) as loan:
        loan.data[:] = message
        loan.commit(timeout=10)


@contextlib.contextmanager
def pooled_pair(name, client=0, server=0):
    """Both ends of a flow, in this process."""
    ends = pair(name, client, server)
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


# --- the table of copies -------------------------------------------------------------------------

class Source:
    """In a process of its own: sends what it holds in a block of its own pool, and tells the copies."""

    def __init__(self, daemon, feed, name):
        self.daemon, self.feed, self.name = daemon, feed, name

    def run(self):
        with pooled_pair(self.feed) as (feeder, fed), \
                flowfs.dial(self.name.name, self.daemon.mount, timeout=10) as flow:
            assert flow.recv(10) == b"attached"
            assert feeder.shared_pool and feeder.shared_pool == fed.shared_pool
            lend(feeder, fill(7))
            with fed.borrow(timeout=10) as borrowed:
                borrowed.forward(flow, timeout=10)
            forwarded = self.copies_after(flow, b"forwarded")
            lend(flow, fill(8))
            lent = self.copies_after(flow, b"lent")
            flow.send(fill(9), timeout=10)
            sent = self.copies_after(flow, b"sent")
            return bool(flow.shared_pool), forwarded, lent - forwarded, sent - lent

    def copies_after(self, flow, what):
        """Of this direction, by both ends; the word that the receiver answers is counted in the other."""
        assert flow.recv(10) == what
        return int(read_values(self.daemon.path("flows", str(flow.id), "stats"))["copies_sent"])


def sink(daemon, name):
    with flowfs.accept(name.name, daemon.mount, timeout=10) as flow:
        flow.send(b"attached", timeout=10)
        for number, what in ((7, b"forwarded"), (8, b"lent")):
            with flow.borrow(timeout=10) as borrowed:
                assert borrowed.data == fill(number)
                flow.send(what, timeout=10)
        assert flow.recv(10) == fill(9)
        flow.send(b"sent", timeout=10)
        assert flow.recv(10) == b""


SHARED = {(a, b) for a in (ROOT, MEMBER, OTHER_MEMBER) for b in (ROOT, MEMBER, OTHER_MEMBER)}
SHARED |= {(user, user) for user in (ALICE, BOB)}
TABLE = list(itertools.product((ROOT, MEMBER, OTHER_MEMBER, ALICE, BOB), repeat=2))


@pytest.mark.parametrize("source,destination", TABLE)
def test_the_table_of_copies(can_map, daemon, open_name, source, destination):
    feed = daemon.name("feed")
    os.mkdir(feed.path)
    for path, mode in ((feed.path, 0o777), (feed.dial, 0o666), (feed.accept, 0o666)):
        os.chmod(path, mode)
    receiver = Child(sink, daemon, open_name, uid=destination, groups=groups_of(destination))
    sender = Child(Source(daemon, feed, open_name).run, uid=source, groups=groups_of(source))
    shares = (source, destination) in SHARED
    # forwarded from a block; written in place; sent from a buffer into a buffer
    assert sender.result(30) == (shares, 0 if shares else 1, 0, 2)
    receiver.result(30)
    for user in ("shared", ALICE, BOB):
        wait_all_free(daemon, user)


# --- who joins -----------------------------------------------------------------------------------

@pytest.mark.parametrize("client,server", [(NO_POOL, 0), (0, NO_POOL), (FILE, 0), (0, FILE)])
def test_an_end_without_a_pool_is_copied_to(can_map, daemon, name, client, server):
    with pooled_pair(name, client, server) as (one, two), pooled_pair(name) as (feeder, fed):
        assert (one.shared_pool, two.shared_pool) == (0, 0)
        lend(feeder, fill(3))
        with fed.borrow(timeout=5) as borrowed:
            borrowed.forward(one, timeout=5)
        with two.borrow(timeout=5) as borrowed:
            assert borrowed.data == fill(3)
    wait_all_free(daemon, "shared")


def test_the_process_joins_once(can_map, daemon, name):
    """One open pool and one open status file, however many flows."""
    before = len(os.listdir("/proc/self/fd"))
    with pooled_pair(name) as first:
        each = len(os.listdir("/proc/self/fd")) - before
        with pooled_pair(name) as second:
            assert first[0].shared_pool == second[1].shared_pool != 0
            assert len(os.listdir("/proc/self/fd")) - before == 2 * each - 2
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("why", ["no memory", "no access"])
def test_without_blocks_messages_are_lent_in_the_flow(can_map, fresh_daemon, why):
    """Whatever keeps a program from having blocks, the calls are the same."""
    server = fresh_daemon("[limits]\nbytes = 8000000\n[pools]\npersonal = '1048576:8'\n").start()
    name = server.name("n")
    os.mkdir(name.path)
    for path in (name.dial, name.accept):
        os.chmod(path, 0o666)
    if why == "no access":
        os.chmod(server.path("pools", str(ALICE)), 0)

    def talk():
        with pooled_pair(name) as (client, peer):
            for number in range(5):
                lend(client, fill(number))
                with peer.borrow(timeout=5) as borrowed:
                    assert borrowed.data == fill(number)
            return client.is_mapped, bool(client.shared_pool)
    assert Child(talk, uid=ALICE).result() == (True, why == "no memory")
    server.stop()


def test_loans_from_a_length_on_take_blocks(can_map, daemon, name):
    with pooled_pair(name) as (client, server):
        for least, length, pooled in ((0, 3568, 0), (0, 3569, 1), (1, 1, 1), (2**64 - 1, LENGTH, 0),
                                      (0, 3569, 1)):
            client.block_least(least)
            lend(client, fill(1, length))
            assert blocks(daemon, "shared", "in_flight") == pooled
            with server.borrow(timeout=5) as borrowed:
                assert borrowed.data == fill(1, length)
                assert blocks(daemon, "shared", "in_flight") == 0


# --- many, used up, kept -------------------------------------------------------------------------

def test_many_blocks_are_lent_and_borrowed_at_once(can_map, daemon, name):
    with pooled_pair(name) as (client, server):
        loans = [client.loan(LENGTH, timeout=5) for _ in range(20)]
        client.send(b"meanwhile", timeout=5)
        for number, loan in reversed(list(enumerate(loans))):
            loan.data[:] = fill(number)
            loan.commit(LENGTH - number, timeout=5)
        assert server.recv(5) == b"meanwhile"
        borrowed = [server.borrow(timeout=5) for _ in loans]
        for number, message in zip(range(19, -1, -1), borrowed):
            assert message.data == fill(number, LENGTH - number)
        for message in borrowed[::2] + borrowed[1::2]:
            message.release()
    wait_all_free(daemon, "shared")


def test_a_pool_that_is_used_up_leaves_the_flow_to_lend(can_map, daemon, name):
    with pooled_pair(name) as (client, server):
        held = []
        with raises_errno(errno.EBUSY):
            while True:
                held.append(client.loan(900_000, timeout=0))
        assert len(held) == 9, "8 blocks, and one message in the flow"
        for number, loan in enumerate(held):
            loan.data[:3] = b"%3d" % number
        held[8].commit(3, timeout=5)
        for number in range(8):
            held[number].commit(3, timeout=5)
        received = [server.recv(5) for _ in held]
        assert received == [b"%3d" % number for number in (8, 0, 1, 2, 3, 4, 5, 6, 7)]
        assert len([client.loan(900_000, timeout=0) for _ in range(8)]) == 8
    wait_all_free(daemon, "shared")


def test_who_takes_all_blocks_of_a_pool_leaves_others_their_messages(can_map, daemon, open_name):
    """Trial 7: what its members have is not told apart; without blocks they copy, and all come back."""
    from pools import HELD, Member, want_class  # pylint: disable=import-outside-toplevel
    ready, told = os.pipe()

    def hoard():
        member = Member(daemon, "shared")
        for index in range(len(SIZES)):
            want_class(member.fd, index)
            for block in member.blocks_of(index):
                member.set_word(block, HELD, member.holder, member.word(block)[2])
        os.write(told, b"!")
        signal.pause()

    def talk():
        with pooled_pair(open_name) as (client, server):
            for number in range(20):
                lend(client, fill(number))
                in_flight = blocks_seen()
                assert server.recv(5) == fill(number)
            return bool(client.shared_pool), in_flight

    def blocks_seen():
        return blocks(daemon, "shared", "in_flight")
    hoarder = Child(hoard, uid=MEMBER, groups=groups_of(MEMBER), keep=[told])
    assert os.read(ready, 1) == b"!"
    assert Child(talk, uid=OTHER_MEMBER, groups=groups_of(OTHER_MEMBER)).result() == (True, 0)
    hoarder.kill()
    hoarder.reap()
    wait_all_free(daemon, "shared")
    assert Child(talk, uid=OTHER_MEMBER, groups=groups_of(OTHER_MEMBER)).result() == (True, 1)
    for fd in (ready, told):
        os.close(fd)


def test_a_block_is_received_into_a_buffer(can_map, daemon, name):
    with pooled_pair(name) as (client, server):
        lend(client, fill(5))
        with raises_errno(errno.EMSGSIZE):
            server.recv_into(bytearray(LENGTH - 1), timeout=5)
        assert blocks(daemon, "shared", "in_flight") == 1
        halves = [bytearray(LENGTH // 2), bytearray(LENGTH)]
        assert server.recvv_into(halves, timeout=5) == LENGTH
        assert b"".join(halves)[:LENGTH] == fill(5)
        for number in range(3):
            lend(client, fill(number))
        assert server.recv_many(5, LENGTH, timeout=5) == [fill(number) for number in range(3)]
    wait_all_free(daemon, "shared")


def test_a_block_goes_round_without_a_copy(can_map, daemon, name):
    with pooled_pair(name) as (client, server):
        lend(client, fill(6))
        for _ in range(50):
            with server.borrow(timeout=5) as borrowed:
                borrowed.forward(server, timeout=5)
            with client.borrow(timeout=5) as borrowed:
                borrowed.forward(client, timeout=5)
        with server.borrow(timeout=5) as borrowed:
            assert borrowed.data == fill(6)
        stats = read_values(daemon.path("flows", str(client.id), "stats"))
        assert stats["copies"] == "0"


@pytest.mark.parametrize("length", [100, LENGTH])
def test_a_block_is_read_by_a_file(can_map, daemon, name, length):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    with flowfs.dial(name.name, daemon.mount, timeout=10) as flow, pooled_pair(name) as (feeder, fed):
        assert flow.shared_pool == 0
        feeder.block_least(1)
        lend(feeder, fill(2, length))
        with fed.borrow(timeout=5) as borrowed:
            borrowed.forward(flow, timeout=5)
        set_nonblock(server, False)
        assert os.read(server, 100_000) == fill(2, length)
    close(server)


def test_the_peer_leaves_the_pool_while_blocks_are_under_way(can_map, daemon, name):
    """What was handed over before is read by the daemon, for the file; what comes after is copied."""
    from mapped import MappedEnd  # pylint: disable=import-outside-toplevel
    from pools import Member  # pylint: disable=import-outside-toplevel
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    with flowfs.dial(name.name, daemon.mount, timeout=10) as flow:
        peer, member = MappedEnd(daemon, server), Member(daemon, "shared")
        member.join_end(peer)
        wait_for(lambda: flow.shared_pool == member.serial, "the pool shared")
        lend(flow, fill(1))
        late = flow.loan(LENGTH, timeout=5)
        late.data[:] = fill(2)
        peer.close()
        wait_for(lambda: flow.shared_pool == 0, "the pool left")
        late.commit(timeout=5)
        set_nonblock(server, False)
        assert [os.read(server, 100_000) for _ in range(2)] == [fill(1), fill(2)]
    close(server)
    wait_all_free(daemon, "shared")


@pytest.fixture
def plain(can_map, daemon, name):
    """A flow whose other end is moved by hand: (flow, peer, member, lane)."""
    from mapped import MappedEnd  # pylint: disable=import-outside-toplevel
    from pools import Member  # pylint: disable=import-outside-toplevel
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    with flowfs.dial(name.name, daemon.mount, timeout=10) as flow:
        peer, member = MappedEnd(daemon, server), Member(daemon, "shared")
        yield flow, peer, member, member.join_end(peer)
        peer.close()
    close(server)


def test_a_block_that_was_taken_back_is_passed_over(plain):
    from pools import HELD  # pylint: disable=import-outside-toplevel
    flow, peer, member, lane = plain
    member.send(peer, lane, b"first")
    assert flow.recv(5) == b"first"
    block = member.send(peer, lane, b"taken back")
    _, _, generation = member.word(block)
    member.set_word(block, HELD, member.holder, generation)
    member.send(peer, lane, b"behind it")
    with flow.borrow(timeout=5) as borrowed:
        assert borrowed.data == b"behind it"
    assert member.word(block) == (HELD, member.holder, generation)
    with raises_errno(errno.EAGAIN):
        flow.recv(0)


@pytest.mark.parametrize("lie", ["another pool", "no such block", "not in the block"])
def test_a_record_of_what_cannot_be_ends_the_flow(plain, lie):
    flow, peer, member, lane = plain
    block = member.allocate(0, b"x")
    generation = member.hand_over(block, lane)
    named = {"another pool": (member.serial + 1, block, generation, 0, 100),
             "no such block": (member.serial, 2**32 - 1, generation, 0, 100),
             "not in the block": (member.serial, block, generation, 4000, 100)}[lie]
    peer.send_block(*named)
    for call in (lambda: flow.recv(5), lambda: flow.borrow(5), lambda: flow.recv(5)):
        with raises_errno(errno.EPROTO):
            call()


def test_a_flow_that_lies_in_a_block_is_told_by_poll(plain):
    flow, peer, member, lane = plain
    with flowfs.Set() as waiting:
        waiting.add(flow)
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)
        member.send(peer, lane, b"in a block")
        assert waiting.wait(timeout=10) == [(flow, flowfs.POLLIN)]
        assert flow.recv(0) == b"in a block"
        waiting.remove(flow)


# --- what is left behind -------------------------------------------------------------------------

def test_closing_gives_back_what_is_lent_and_borrowed(can_map, daemon, name):
    with pooled_pair(name) as keeper:
        client, server = pair(name)
        lend(client, fill(1))
        lend(client, fill(2))
        kept = [client.loan(LENGTH, timeout=5), server.borrow(timeout=5)]
        assert len(kept) == 2
        client.close()
        server.close()
        wait_all_free(daemon, "shared", AT_HAND)
        assert keeper[0].shared_pool, "the process is still a member: it has given them back itself"
    wait_all_free(daemon, "shared")


def use_a_pool(name):
    with pooled_pair(name) as (client, server):
        lend(client, fill(9))
        assert server.recv(5) == fill(9)
        return client.shared_pool


def test_a_forked_child_leaves_the_pool_to_its_parent(can_map, daemon, name):
    with pooled_pair(name) as (client, server):
        loan = client.loan(LENGTH, timeout=5)
        child = Child(signal.pause)
        assert Child(use_a_pool, name).result() == client.shared_pool
        loan.data[:] = fill(4)
        loan.commit(timeout=5)
        with server.borrow(timeout=5) as borrowed:
            assert borrowed.data == fill(4)
        child.kill()


def victim(opening, name, mount, choose):
    """Lends, borrows and forwards until it is killed."""
    with opening(name, mount, timeout=10) as flow:
        kept = []
        flow.block_least(1)
        while True:
            if choose.random() < 0.5:
                kept.append(flow.loan(choose.choice((100, LENGTH)), timeout=10))
            lend(flow, fill(1, choose.choice((100, LENGTH))))
            with contextlib.suppress(BlockingIOError):
                borrowed = flow.borrow(timeout=0)
                if borrowed is None:
                    return
                if choose.random() < 0.5:
                    borrowed.forward(flow, timeout=10)
                else:
                    kept.append(borrowed)
            del kept[:-5]


def echo_until_it_dies(flow, told):
    """Sends back what comes, without a copy, until the peer has gone. `told` hears of each."""
    echoed = 0
    try:
        while (borrowed := flow.borrow(timeout=20)) is not None:
            assert len(set(bytes(borrowed.data))) == 1
            with borrowed:
                borrowed.forward(flow, timeout=0)
            echoed += 1
            told(echoed)
    except BlockingIOError:
        pass  # it reads less than it writes: enough
    except OSError as error:
        assert error.errno == errno.EPIPE
    return echoed


@pytest.mark.deadline(3600 if long_run() else 300)
def test_killed_at_any_moment_no_block_is_lost(can_map, daemon, open_name):
    """Every second one while it is busy for certain, however slow the machine is; the others at any time."""
    kills = 10000 if long_run() else 100
    choose = random.Random(next(seeds))
    mount = daemon.mount
    counts = {"killed": 0, "clients": 0, "while opening": 0, "echoed": 0}
    with pooled_pair(open_name) as keeper:
        for number in range(kills):
            ours, theirs = choose.choice([(flowfs.accept, flowfs.dial), (flowfs.dial, flowfs.accept)])
            child = Child(victim, theirs, open_name.name, mount, random.Random(choose.random()))
            busy, enough = number % 2, choose.randrange(1, 20)

            def told(echoed, child=child, enough=enough if busy else None):
                if echoed == enough:
                    child.kill()
            killer = threading.Timer(choose.uniform(0.005, 0.03), child.kill)
            if not busy:
                killer.start()
            try:
                with ours(open_name.name, mount, timeout=20 if busy else 0.1) as flow:
                    counts["echoed"] += echo_until_it_dies(flow, told)
            except TimeoutError:
                counts["while opening"] += 1
            if busy:
                child.kill()
            else:
                killer.join()
            child.reap()
            counts["killed"] += 1
            counts["clients"] += theirs is flowfs.dial
        assert counts["echoed"] >= kills // 2
        wait_all_free(daemon, "shared", AT_HAND)
        assert keeper[0].shared_pool
    wait_all_free(daemon, "shared")
    figures.record("a member with blocks killed at random moments", **counts)
