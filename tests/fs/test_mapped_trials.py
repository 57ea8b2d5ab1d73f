# SPDX-License-Identifier: BSD-3-Clause
"""Mapped ends that stop, that write nonsense, or that want what is not theirs: what others notice of it."""

import errno
import os
import pickle
import random
import select
import signal
import time
from statistics import median

import buses
import lib
import pools
import pytest
from figures import record
from fixtures import long_run
from harness import close, is_sanitized, read_values, track
from lib import can_map, in_python, seeds  # pylint: disable=unused-import
from mapped import MappedEnd, can_be_written, ways_to_write
from mapped_bus import MappedMember
from pools import Member
from procs import Child, as_user, wait_for
from test_buses_mapped import scribble as scribble_member
from test_storms import Storm

ROOT, ALICE, BOB, MEMBER, VICTIM = 0, 61001, 61002, 61003, 61004
GROUP = 61900
NONBLOCK = os.O_RDWR | os.O_NONBLOCK
BLOCKS = "4096:64 65536:32"
ROUNDS, ROUND_TRIPS = (15, 10_000) if long_run() else (3, 1500)


@pytest.fixture(scope="module")
def config():
    return f"[daemon]\ngroup = '{GROUP}'\n[pools]\nshared = '{BLOCKS}'\npersonal = '{BLOCKS}'\n"


def number(index):
    return index.to_bytes(8, "little")


@in_python
@pytest.mark.parametrize("size", [8, 3000, 60_000], ids=["inline", "bulk", "large"])
def test_a_stopped_reader_holds_up_its_sender_and_nobody_else(can_map, open_name, size):
    """Trial 4: the sender waits, nothing is lost, and another flow of the name goes on."""
    mount, total = open_name.daemon.mount, 20_000 if size < 1000 else 1500

    def read_all():
        flow = lib.flowfs.dial(open_name.name, mount, timeout=10)
        for expected in range(total):
            assert flow.recv(timeout=60)[:8] == number(expected)
        flow.send(b"all")

    accepting = lib.flowfs.accept(open_name.name, mount, timeout=0)
    reader = Child(read_all, uid=ALICE)
    while True:
        try:
            accepting.send(number(0) + bytes(size - 8), timeout=0.02)
            break
        except (TimeoutError, BlockingIOError):
            pass  # no peer yet
    reader.kill(signal.SIGSTOP)
    sent = 1
    with pytest.raises(BlockingIOError):
        while True:
            accepting.send(number(sent) + bytes(size - 8), timeout=0)
            sent += 1
    assert sent < total, "a stopped reader cannot have read everything"

    client, server = lib.pair(open_name)
    for index in range(1000):
        client.send(number(index), timeout=10)
        assert server.recv(timeout=10) == number(index)
    client.close()
    server.close()

    with pytest.raises(BlockingIOError):
        accepting.send(number(sent) + bytes(size - 8), timeout=0)
    reader.kill(signal.SIGCONT)
    for index in range(sent, total):
        accepting.send(number(index) + bytes(size - 8), timeout=60)
    assert accepting.recv(timeout=60) == b"all"
    reader.result()
    accepting.close()


def scribble(end, choose):
    """Random bytes over a segment: all of it, a page of it, or a few words."""
    where = choose.choice([(0, len(end.tx)), (0, 4096), (128, 640), (4096, 4096 + 256)])
    if choose.random() < 0.5:
        end.tx[where[0]:where[1]] = choose.randbytes(where[1] - where[0])
    else:
        for _ in range(choose.randrange(1, 8)):
            at = choose.randrange(where[0], where[1] - 8)
            end.tx[at:at + 8] = choose.randbytes(8)
    end.ring()


def use_up(fd):
    """Reads and writes until there is nothing more to do; only what the contract allows may come."""
    for call in (lambda: os.read(fd, 1 << 20), lambda: os.write(fd, b"x" * 100)):
        for _ in range(2000):
            try:
                if call() == b"":
                    break
            except BlockingIOError:
                break
            except OSError as error:
                assert error.errno in (errno.EPROTO, errno.EPIPE), error
                break


def test_random_bytes_over_segments_spoil_their_own_flows_alone(daemon, name, can_map):
    """Trial 5, for the segment of a flow."""
    choose = random.Random(next(seeds))
    good = name.pair()
    rounds = 60 if is_sanitized() else 250
    for index in range(rounds):
        client, server = name.pair(nonblock=True)
        end = MappedEnd(daemon, client)
        for _ in range(choose.randrange(3)):
            end.send(b"true")
        scribble(end, choose)
        use_up(server)
        end.close()
        use_up(server)
        close(client, server)
        os.write(good[0], number(index))
        assert os.read(good[1], 100) == number(index)
    daemon.wait_states(allocated=2)


@in_python
def test_programs_find_no_more_than_nonsense_in_a_spoilt_segment(daemon, name, can_map):
    """The same where the peer is mapped too."""
    choose, kept = random.Random(next(seeds)), lib.pair(name)
    outcomes = set()
    for index in range(250):
        liar = name.open_accept(NONBLOCK)
        flow = lib.flowfs.dial(name.name, daemon.mount, timeout=10)
        end = MappedEnd(daemon, liar)
        for _ in range(choose.randrange(3)):
            end.send(b"true")
        scribble(end, choose)
        for call in (lambda: flow.recv(timeout=0), lambda: flow.send(b"x" * 100, timeout=0)):
            for _ in range(500):
                try:
                    if call() == b"":
                        break
                except OSError as error:
                    outcomes.add(error.errno)
                    break
        end.close()
        close(liar)
        flow.close()
        kept[0].send(number(index), timeout=5)
        assert kept[1].recv(timeout=5) == number(index)
    assert errno.EPROTO in outcomes and outcomes <= {errno.EPROTO, errno.EPIPE, errno.EAGAIN}
    for end in kept:
        end.close()
    wait_for(lambda: not daemon.flow_states(), "no flow left")


# --- what others keep of their throughput ----------------------------------------------------------

def spoil_segments(daemon, _name):
    """Flows of one's own, each with random bytes over a segment."""
    choose = random.Random(next(seeds))
    own = daemon.name(f"spoilt{os.getpid()}")
    os.mkdir(own.path)
    while True:
        client, server = own.pair(nonblock=True)
        end = MappedEnd(daemon, client)
        scribble(end, choose)
        use_up(server)
        end.close()
        close(client, server)
        yield


def spoil_members(daemon, _name):
    """Members of a bus of one's own, one after the other, each with random bytes over its segment."""
    choose = random.Random(next(seeds))
    own = buses.Bus(daemon, f"spoilt{os.getpid()}")
    os.mkdir(own.path)
    while True:
        liar = MappedMember(own, own.join())
        liar.send(b"true")
        scribble_member(liar, choose)
        liar.detach()
        close(liar.fd)
        yield


def spoil_pool(pool):
    """Random bytes over all of a pool but its blocks, again and again."""
    def spoil(daemon, _name):
        choose = random.Random(next(seeds))
        while True:
            member = Member(daemon, pool)
            table = member.classes[0][0]
            for _ in range(20):
                member.memory[:table] = choose.randbytes(table)
                pools.want_class(member.fd, 0, exhausted=True)
                yield
            member.close()
    return spoil


def keep_busy(_daemon, _name):
    """Takes a processor and nothing else: what the others are compared with."""
    choose, memory = random.Random(next(seeds)), bytearray(1 << 16)
    while True:
        memory[:] = choose.randbytes(len(memory))
        yield


def ask(daemon, name):
    """Round trips a second; every message comes back."""
    with lib.flowfs.dial(name.name, daemon.mount, timeout=20) as flow:
        flow.send(b"is it there?", timeout=20)
        assert flow.recv(timeout=20) == b"is it there?"
        assert flow.is_mapped and flow.shared_pool
        start = time.monotonic()
        for index in range(ROUND_TRIPS):
            message = number(index) * (1000 if index % 10 == 0 else 1)
            with flow.loan(len(message), timeout=20) as loan:
                loan.data[:] = message
                loan.commit(timeout=20)
            assert flow.recv(timeout=20) == message
        rate = ROUND_TRIPS / (time.monotonic() - start)
        assert read_values(daemon.path("flows", str(flow.id), "stats"))["drops"] == "0"
        return rate


def round_trips(daemon, name):
    """Of two processes of a user who has nothing to do with it."""
    server = Child(lib.echo, name, uid=VICTIM)
    rate = Child(ask, daemon, name, uid=VICTIM).result(120)
    server.result(60)
    return rate


@in_python
@pytest.mark.deadline(600 if long_run() else 120)
@pytest.mark.parametrize("what, uid", [
    (spoil_segments, ALICE), (spoil_members, ALICE), (spoil_pool(ALICE), ALICE), (spoil_pool("shared"), ROOT)],
    ids=["a segment", "a member's segment", "a PUP", "the GSPP"])
def test_a_mapped_flow_goes_on_beside_random_bytes_over(request, daemon, open_name, can_map, what, uid):
    """Trial 5: nothing of it is lost, and nothing is left; how fast it goes on is measured."""
    alone, beside_work, beside = [round_trips(daemon, open_name)], [], []
    descriptors = daemon.descriptors()
    for _ in range(ROUNDS):
        alone.append(round_trips(daemon, open_name))
        for storm, rates in ((keep_busy, beside_work), (what, beside)):
            raging = Storm(storm, [uid], daemon, open_name)
            rates.append(round_trips(daemon, open_name))
            raging.wait_for_more()
            raging.children[0].kill()
            raging.children[0].reap()
    record(f"round trips/s of a mapped flow beside random bytes over {request.node.callspec.id}",
           alone=median(alone), beside_work=median(beside_work), beside=median(beside),
           kept=median(one / other for one, other in zip(beside, beside_work)))
    wait_for(lambda: not daemon.flow_states(), "no flow left")
    wait_for(lambda: not any(name == "flowfs_pool_blocks" for name, _ in daemon.metrics()), "no pool left")
    for user in {uid, VICTIM} - {ROOT}:
        wait_for(lambda user=user: daemon.usage(user)["bytes"] == "0", f"nothing charged to {user}")
    daemon.wait_descriptors(descriptors)


# --- what is another's -----------------------------------------------------------------------------

def own_everything(daemon, name, told):
    """ALICE, with one of each that is mapped. Tells where each is, and which she can map to write."""
    end = MappedEnd(daemon, os.open(name.dial, os.O_RDWR))
    pool = Member(daemon, ALICE)
    bus = buses.Bus(daemon, "alices")
    os.mkdir(bus.path)
    os.chmod(bus.bus, 0o766)
    on_bus = MappedMember(bus, bus.join())
    places = {"tx": os.path.join(end.folder, "tx"), "rx": os.path.join(end.folder, "rx"),
              "status": daemon.path("users", str(ALICE), "status"), "pool": daemon.path("pools", str(ALICE)),
              "log": bus.file("log"), "port": bus.file("port", str(on_bus.at["port"]), "tx"),
              "descriptor of tx": f"/proc/{os.getpid()}/fd/{end.tx_fd}",
              "descriptor of pool": f"/proc/{os.getpid()}/fd/{pool.fd}"}
    os.write(told, pickle.dumps((places, {what for what, path in places.items() if ways_to_write(path)})))
    select.select([], [], [])


def look_for_ways(daemon, name, hear):
    """BOB, her peer and a member of her bus: what of hers he can map to write, and whether he sees her log."""
    end = MappedEnd(daemon, os.open(name.accept, os.O_RDWR))
    places = pickle.loads(os.read(hear, 65536))
    bus = buses.Bus(daemon, "alices")
    MappedMember(bus, bus.join())
    os.close(os.open(places["log"], os.O_RDONLY))
    assert ways_to_write(os.path.join(end.folder, "tx"))
    return {what for what, path in [*places.items(), ("his rx", os.path.join(end.folder, "rx"))]
            if ways_to_write(path)}


def test_nobody_maps_anothers_memory_to_write(daemon, open_name, can_map):
    """By no open, no second one through /proc, no mprotect, and no descriptor that he was handed to read."""
    ready, told = os.pipe()
    hear, tell = os.pipe()
    peer = Child(look_for_ways, daemon, open_name, hear, uid=BOB, keep=[hear])
    Child(own_everything, daemon, open_name, told, uid=ALICE, keep=[told])
    for fd in (told, hear):
        os.close(fd)
    places, hers = pickle.loads(os.read(ready, 65536))
    assert hers == {"tx", "pool", "port", "descriptor of tx", "descriptor of pool"}
    os.write(tell, pickle.dumps(places))
    assert peer.result() == set()
    handed = {(what, flags): track(os.open(path, flags)) for what, path in places.items()
              for flags in (os.O_RDONLY, os.O_PATH)}

    def use_them():
        return {key for key, fd in handed.items() if can_be_written(fd) or ways_to_write(f"/proc/self/fd/{fd}")}
    assert Child(use_them, uid=BOB, keep=handed.values()).result() == set()
    for fd in (ready, tell):
        os.close(fd)


def test_the_mode_of_a_pool_says_who_maps_it_and_how(daemon, can_map):
    path = daemon.path("pools", "shared")

    def ways(uid, groups=()):
        return as_user(uid, lambda: (bool(ways_to_write(path)), os.access(path, os.R_OK)), groups=list(groups))
    for mode, member, stranger in ((0o660, (True, True), (False, False)), (0o640, (False, True), (False, False)),
                                   (0o600, (False, False), (False, False)), (0o604, (False, False), (False, True))):
        os.chmod(path, mode)
        assert (ways(MEMBER, [GROUP]), ways(BOB)) == (member, stranger), oct(mode)
    os.chmod(path, 0o660)
