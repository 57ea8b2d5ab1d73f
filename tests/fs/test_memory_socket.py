# SPDX-License-Identifier: BSD-3-Clause
"""Shared memory where the mount cannot map it: handed out over the socket beside the mount."""

import contextlib
import errno
import itertools
import mmap
import os
import random
import signal
import socket
import stat

import acls
import mapped_bus
import memory
import pytest
from fixtures import need_mapping
from harness import close, is_sanitized, read_text, track
from lib import in_python, pair, seeds
from mapped import Attached, can_be_written, protect, ways_to_write
from memory import READ, WRITE, ask, connect, outcome_of
from procs import Child, as_user, wait_for
from rootless import USER, rootless  # pylint: disable=unused-import
from sysc import outcome, raises_errno
from wire import flow_id

if not is_sanitized():
    import flowfs

ROOT, ALICE, BOB = 0, 61001, 61002
MOST_OF_UID = 64


@pytest.fixture(scope="module")
def config():
    return "[daemon]\npassthrough = false\n"


@pytest.fixture
def quiet(daemon):
    """What the daemon holds is what it held before, in the end."""
    before = daemon.descriptors()
    yield
    wait_for(lambda: connections(daemon) == 0, "no connection left")
    daemon.wait_descriptors(before)


def connections(daemon):
    return daemon.metrics()[("flowfs_memory_connections", frozenset())]


def refused(daemon, reason):
    return daemon.metrics().get(("flowfs_refused_total", frozenset(
        {("operation", "memory"), ("reason", reason)})), 0)


def make_segments(daemon, fd):
    """Opens tx, which makes the memory; the number of the end."""
    number = flow_id(fd)
    os.close(os.open(daemon.path("flows", str(number), "tx"), os.O_RDWR))
    return number


@pytest.fixture
def alices_end(daemon, open_name):
    """The number of an end of ALICE's, in mapped mode, as long as the test runs."""
    serving = open_name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    ready, told = os.pipe()
    done, finish = os.pipe()

    def live():
        fd = os.open(open_name.dial, os.O_RDWR)
        tx = os.open(daemon.path("flows", str(flow_id(fd)), "tx"), os.O_RDWR)
        Attached(tx)
        os.write(told, b"%d\n" % flow_id(fd))
        os.read(done, 1)
    child = Child(live, uid=ALICE, keep=(told, done))
    os.close(told)
    number = int(os.read(ready, 20))
    yield number
    os.close(finish)
    child.reap()
    for fd in (ready, done):
        os.close(fd)
    close(serving)


# --- which way -----------------------------------------------------------------------------------

def test_the_way_is_told(daemon):
    version = read_text(daemon.path("version")).splitlines()
    assert "passthrough off" in version and "socket yes" in version
    assert stat.S_ISSOCK(os.stat(daemon.mount + ".sock").st_mode)


def test_what_is_open_cannot_be_mapped_through_the_mount(daemon, name):
    client, _ = name.pair()
    tx = track(os.open(daemon.path("flows", str(flow_id(client)), "tx"), os.O_RDWR))
    with raises_errno(errno.ENODEV):
        mmap.mmap(tx, 4096, mmap.MAP_SHARED)


def test_where_the_mount_maps_there_is_no_socket(fresh_daemon):
    server = fresh_daemon().start()
    need_mapping(server)
    assert "socket no" in read_text(server.path("version"))
    assert not os.path.exists(server.mount + ".sock")
    server.stop()


def test_the_socket_goes_with_the_daemon_and_a_dead_ones_is_replaced(fresh_daemon, config):
    server = fresh_daemon(config).start()
    path = server.mount + ".sock"
    server.kill()
    assert os.path.exists(path)
    # The kernel lets go of what its ring watches a moment after it has gone.
    wait_for(lambda: outcome(connect, server.mount) == "ECONNREFUSED", "nobody to listen")
    server.start()
    connect(server.mount).close()
    server.stop()
    assert not os.path.exists(path)


def test_what_else_lies_there_is_left_alone(fresh_daemon, config):
    server = fresh_daemon(config)
    path = server.mount + ".sock"
    with open(path, "w", encoding="ascii") as file:
        file.write("mine")
    server.start()
    assert "socket no" in read_text(server.path("version"))
    assert "cannot hand out memory" in server.log()
    name = server.name("n")
    os.mkdir(name.path)
    client, serving = name.pair()
    with raises_errno(errno.EOPNOTSUPP):
        os.open(server.path("flows", str(flow_id(client)), "tx"), os.O_RDWR)
    os.write(client, b"still")
    assert os.read(serving, 10) == b"still"
    close(client, serving)
    server.stop()
    assert read_text(path) == "mine"


# --- the library ---------------------------------------------------------------------------------

@in_python
def test_the_ends_of_a_flow_are_mapped(daemon, name, quiet):
    client, server = pair(name, flowfs.NO_POOL, flowfs.NO_POOL)
    with client, server:
        assert client.is_mapped and server.is_mapped
        for length in (1, 3000, 900_000):
            client.send(bytes([7]) * length, timeout=5)
            server.send(bytes([9]) * length, timeout=5)
            assert server.recv(5) == bytes([7]) * length
            assert client.recv(5) == bytes([9]) * length
    wait_for(lambda: not os.listdir(daemon.path("flows")), "the flow to go")


@in_python
def test_a_mapped_end_follows_a_peer_that_changes_its_mode(daemon, name, quiet):
    serving = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    with flowfs.dial(name.name, daemon.mount, flowfs.NO_POOL, timeout=10) as client:
        number = flow_id(serving)
        for turn in range(3):
            tx = os.open(daemon.path("flows", str(number), "tx"), os.O_RDWR)
            Attached(tx)
            os.close(tx)
            os.write(serving, b"turn %d" % turn)
            assert client.recv(5) == b"turn %d" % turn
            client.send(b"back", timeout=5)
            assert os.read(serving, 10) == b"back"
        assert client.is_mapped
    close(serving)


@in_python
def test_ends_of_one_user_share_a_pool(daemon, open_name, quiet):
    def exchange():
        client, server = pair(open_name)
        with client, server:
            assert client.shared_pool == server.shared_pool != 0
            with client.loan(50_000, timeout=5) as loan:
                loan.data[:] = bytes([3]) * 50_000
                loan.commit()
            assert server.recv(5) == bytes([3]) * 50_000
            return True
    for uid in (ROOT, ALICE):
        assert as_user(uid, exchange)
    wait_for(lambda: daemon.usage(ALICE)["bytes"] == "0", "the pool of ALICE to go")


@in_python
def test_users_talk_to_each_other(daemon, open_name, quiet):
    server = flowfs.accept(open_name.name, daemon.mount, timeout=0)

    def talk():
        with flowfs.dial(open_name.name, daemon.mount, timeout=10) as client:
            client.send(b"from alice", timeout=5)
            return client.is_mapped, client.recv(5)
    child = Child(talk, uid=ALICE)
    with server:
        assert server.recv(10) == b"from alice"
        server.send(b"from root", timeout=5)
        assert child.result() == (True, b"from root")


@in_python
def test_a_killed_program_leaves_nothing(daemon, open_name, quiet):
    def die():
        client, server = pair(open_name)
        client.send(b"x" * 100_000, timeout=5)
        assert server.is_mapped
        os.kill(os.getpid(), signal.SIGKILL)
    for _ in range(5):
        Child(die, uid=ALICE).reap()
    wait_for(lambda: set(daemon.usage(ALICE).values()) == {"0"}, "nothing charged to ALICE")
    wait_for(lambda: not os.listdir(daemon.path("flows")), "no flow")


# --- who gets what -------------------------------------------------------------------------------

def test_only_who_may_open_a_file_gets_its_memory(daemon, alices_end):
    wanted = {("TX", WRITE): {ALICE, ROOT}, ("TX", READ): {ALICE, ROOT}, ("RX", READ): {ALICE, ROOT},
              ("RX", WRITE): set()}
    for (file, access), allowed in wanted.items():
        for uid in (ROOT, ALICE, BOB):
            got = as_user(uid, outcome_of, daemon.mount, file, alices_end, access)
            assert got == (0 if uid in allowed else errno.EACCES), (file, access, uid)
    for uid, expected in ((ROOT, 0), (ALICE, 0), (BOB, errno.EACCES)):
        assert as_user(uid, outcome_of, daemon.mount, "STATUS", ALICE, READ) == expected
        assert as_user(uid, outcome_of, daemon.mount, "STATUS", ALICE, WRITE) == errno.EACCES


def test_what_is_not_there(daemon, name):
    for file, number in (("TX", 2**47), ("TX", 2**63), ("STATUS", 4_000_000), ("POOL", 61077)):
        assert outcome_of(daemon.mount, file, number, READ) == errno.ENOENT, (file, number)
    waiting = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    assert outcome_of(daemon.mount, "TX", flow_id(waiting), WRITE) == errno.ENOTCONN
    close(waiting)


def test_a_pool_is_handed_to_its_owner(daemon):
    pool = daemon.path("pools", str(ALICE))

    def hold(ready, done):
        fd = os.open(pool, os.O_RDWR)
        os.write(ready, b"!")
        os.read(done, 1)
        os.close(fd)
    ready, told = os.pipe()
    done, finish = os.pipe()
    child = Child(hold, told, done, uid=ALICE, keep=(told, done))
    os.close(told)
    assert os.read(ready, 1) == b"!"
    shared = track(os.open(daemon.path("pools", "shared"), os.O_RDWR))
    for uid, expected in ((ROOT, 0), (ALICE, 0), (BOB, errno.EACCES)):
        for access in (READ, WRITE):
            assert as_user(uid, outcome_of, daemon.mount, "POOL", ALICE, access) == expected
            got = as_user(uid, outcome_of, daemon.mount, "SHARED_POOL", 0, access)
            assert got == (errno.EACCES if uid else 0)
    os.close(finish)
    child.result()
    close(shared)
    for fd in (ready, done):
        os.close(fd)


def test_modes_and_lists_say_the_same_as_the_kernel(daemon, name):
    """Random ones, against opening the file through the mount."""
    rng = random.Random(next(seeds))
    client, serving = name.pair()
    number = make_segments(daemon, client)
    folder = daemon.path("flows", str(number))
    users = [(ALICE, ALICE, []), (BOB, BOB, [61900]), (61003, 61900, []), (61004, 61901, [61902, 61900])]
    asked = granted = 0
    for _ in range(60):
        os.chmod(folder, rng.choice([0o500, 0o711, 0o755, 0o750]))
        os.chown(folder, rng.choice([ROOT, ALICE]), rng.choice([ROOT, 61900]))
        path = os.path.join(folder, "tx")
        os.chown(path, rng.choice([ROOT, ALICE]), rng.choice([ROOT, 61900]))
        if rng.random() < 0.5:
            os.setxattr(path, acls.ATTRIBUTE, acls.acl(
                rng.randrange(0o1000), mask=rng.choice([0, 4, 6, 7]),
                users=[(who, rng.randrange(8)) for who in rng.sample([ALICE, BOB, 61003], 2)],
                groups=[(who, rng.randrange(8)) for who in rng.sample([61900, 61901, 61902], 2)]))
        else:
            os.setxattr(path, acls.ATTRIBUTE, acls.acl(rng.randrange(0o1000)))
        for uid, gid, groups in users:
            def both(path=path):
                seen = []
                for access, flags in ((READ, os.O_RDONLY), (WRITE, os.O_RDWR)):
                    opened = outcome(os.open, path, flags)
                    seen.append((outcome_of(daemon.mount, "TX", number, access),
                                 errno.EACCES if opened == "EACCES" else 0))
                return seen
            for socket_says, kernel_says in as_user(uid, both, gid=gid, groups=groups):
                assert socket_says == kernel_says, (uid, os.stat(folder), os.stat(path), acls.get(path))
                asked += 1
                granted += kernel_says == 0
    assert 0 < granted < asked
    close(client, serving)


def test_many_supplementary_groups_count(daemon, name):
    client, serving = name.pair()
    number = make_segments(daemon, client)
    folder = daemon.path("flows", str(number))
    os.chmod(folder, 0o755)
    os.chown(os.path.join(folder, "tx"), ROOT, 70_500)
    os.chmod(os.path.join(folder, "tx"), 0o060)
    for groups, expected in ((range(70_000, 70_501), 0), (range(70_000, 70_500), errno.EACCES)):
        assert as_user(BOB, outcome_of, daemon.mount, "TX", number, WRITE, groups=list(groups)) == expected
    close(client, serving)


def test_memory_to_read_cannot_be_written_in_any_way(daemon, alices_end):
    def attempts():
        fd = ask(daemon.mount, "RX", alices_end)
        own = f"/proc/self/fd/{fd}"
        tries = [protect(fd, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
                 protect(fd, mmap.MAP_SHARED, mmap.PROT_READ), outcome(os.open, own, os.O_RDWR),
                 outcome(os.write, fd, b"x"), outcome(os.fchmod, fd, 0o666), outcome(os.ftruncate, fd, 0)]
        with mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ) as view:
            return tries, view[:8]
    tries, magic = as_user(ALICE, attempts)
    assert tries == [("mmap", errno.EACCES), ("mprotect", errno.EACCES), "EACCES", "EBADF", "EPERM", "EINVAL"]
    assert magic == b"flowseg\0"


@pytest.fixture
def alices_bus(daemon, open_bus):
    """(tx of ALICE's port, number of the member) while she is one."""
    ready, told = os.pipe()

    def be_a_member():
        fd = os.open(open_bus.bus, os.O_RDWR)
        path = open_bus.file("port", str(flow_id(fd)), "tx")
        os.write(told, b"%s %d" % (path.encode(), mapped_bus.attach(os.open(path, os.O_RDWR))["member"]))
        signal.pause()
    child = Child(be_a_member, uid=ALICE, keep=(told,))
    os.close(told)
    path, number = os.read(ready, 4096).split()
    yield path.decode(), int(number)
    os.close(ready)
    child.kill()
    child.reap()


def test_memory_of_a_bus_is_handed_to_who_may_open_its_files(daemon, open_bus, alices_bus, quiet):
    _, number = alices_bus
    wanted = {("BUS_TX", READ): {ALICE, ROOT}, ("BUS_TX", WRITE): {ALICE, ROOT},
              ("BUS_LOG", READ): {ROOT, ALICE, BOB}, ("BUS_LOG", WRITE): set()}
    for mode, left_out in ((0o766, set()), (0o720, {ALICE, BOB})):
        os.chmod(open_bus.bus, mode)
        for (file, access), allowed in wanted.items():
            for uid in (ROOT, ALICE, BOB):
                may = uid in allowed - (left_out if file == "BUS_LOG" else set())
                got = as_user(uid, outcome_of, daemon.mount, file, number, access)
                assert got == (0 if may else errno.EACCES), (oct(mode), file, access, uid)
    assert outcome_of(daemon.mount, "BUS_LOG", number + 1000, READ) == errno.ENOENT


@in_python
def test_the_only_sender_of_a_bus_writes_its_log_here_too(bus, quiet):
    bus.set("writers", 1)
    with flowfs.join(bus.name, bus.daemon.mount, flowfs.RECEIVE_ONLY) as receiver:
        for text in b"one", b"two":
            with flowfs.join(bus.name, bus.daemon.mount, flowfs.SEND_ONLY) as sender:
                with raises_errno(errno.EBUSY):
                    bus.set("writers", 2)
                sender.send(text, timeout=5)
                assert receiver.is_mapped and receiver.recv(5) == text
            bus.wait_members(1)
    bus.wait_members(0)



@pytest.mark.parametrize("file", ["TX", "RX", "STATUS", "POOL", "BUS_TX", "BUS_LOG"])
def test_what_is_asked_for_to_read_is_never_mapped_to_write(daemon, alices_end, alices_bus, file):
    number = {"TX": alices_end, "RX": alices_end, "BUS_TX": alices_bus[1], "BUS_LOG": alices_bus[1]}.get(file, ALICE)

    def attempts():
        pool = os.open(daemon.path("pools", str(ALICE)), os.O_RDWR)
        fd = ask(daemon.mount, file, number)
        with mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ):
            found = can_be_written(fd), ways_to_write(f"/proc/self/fd/{fd}")
        if file in ("TX", "POOL", "BUS_TX"):
            assert can_be_written(ask(daemon.mount, file, number, WRITE)), "it looks for the right thing"
        os.close(pool)
        return found
    assert as_user(ALICE, attempts) == (False, [])


def test_memory_to_write_keeps_its_size_and_its_mode(daemon, alices_end):
    def attempts():
        fd = ask(daemon.mount, "TX", alices_end, WRITE)
        return [outcome(os.ftruncate, fd, 0), outcome(os.ftruncate, fd, 1 << 30), outcome(os.fchmod, fd, 0o666),
                outcome(os.open, f"/proc/self/fd/{fd}", os.O_RDWR)]
    assert as_user(ALICE, attempts) == ["EPERM", "EPERM", "EPERM", "EACCES"]


# --- bad company ---------------------------------------------------------------------------------

def test_what_is_no_request_is_refused_and_counted(daemon, quiet):
    before = refused(daemon, "EINVAL")
    good = memory.request("TX", 1)
    bad = [b"x", good[:-1], good + b"x", bytes(4000), memory.request("TX", 1, version=99),
           memory.request("TX", 1, access=2), memory.request("TX", 1, reserved=1),
           good[:4] + b"\xff\0\0\0" + good[8:]]
    with connect(daemon.mount) as connection:
        for data in bad:
            connection.send(data)
            with raises_errno(errno.EINVAL):
                memory.answer(connection)
        connection.send(memory.request("STATUS", 4_000_000))
        with raises_errno(errno.ENOENT):
            memory.answer(connection)
    assert refused(daemon, "EINVAL") == before + len(bad)


def test_random_bytes_harm_nobody(daemon, quiet):
    rng = random.Random(next(seeds))
    for _ in range(20):
        with connect(daemon.mount) as connection:
            for _ in range(20):
                data = bytearray(memory.request("TX", rng.randrange(5)))
                for _ in range(rng.randrange(4)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                connection.send(rng.choice([bytes(data), rng.randbytes(rng.randrange(1, 64))]))
                with contextlib.suppress(OSError):
                    os.close(memory.answer(connection))
    assert read_text(daemon.path("version"))


def test_descriptors_of_a_client_are_not_taken(daemon, quiet):
    before = daemon.descriptors()
    with connect(daemon.mount) as connection, open("/dev/null", "rb") as file:
        socket.send_fds(connection, [memory.request("STATUS", ROOT)], [file.fileno()] * 20)
        assert memory.answer(connection) is None, "the connection is closed"
        assert daemon.descriptors() <= before + 1


def test_who_takes_no_answers_is_let_go(daemon, quiet):
    with connect(daemon.mount) as connection:
        sent = 0
        with raises_errno(errno.EPIPE, errno.ECONNRESET):
            for sent in range(100_000):
                connection.send(memory.request("STATUS", 4_000_000))
        assert sent > 1
    assert read_text(daemon.path("version"))


def test_hundreds_of_idle_connections_leave_room_for_others(daemon, quiet):
    hold, finish = os.pipe()
    ready, told = os.pipe()

    def crowd():
        held = [connect(daemon.mount) for _ in range(300)]
        os.write(told, b"!")
        os.read(hold, 1)
        return len(held)
    child = Child(crowd, uid=ALICE, keep=(hold, told))
    os.close(told)
    assert os.read(ready, 1) == b"!"
    wait_for(lambda: connections(daemon) == MOST_OF_UID, "those that are kept")
    assert int(daemon.usage(ALICE)["descriptors"]) == MOST_OF_UID
    for uid in (BOB, ROOT):
        assert as_user(uid, outcome_of, daemon.mount, "STATUS", 4_000_000, READ) == errno.ENOENT
    os.close(finish)
    assert child.result() == 300
    wait_for(lambda: daemon.usage(ALICE)["descriptors"] == "0", "nothing charged to ALICE")
    for fd in (hold, ready):
        os.close(fd)


def test_a_killed_crowd_is_charged_nothing(daemon, quiet):
    for _ in range(3):
        ready, told = os.pipe()

        def crowd(told=told):
            held = [connect(daemon.mount) for _ in range(50)]
            os.write(told, b"!")
            for number in itertools.count():
                held[number % 50].send(memory.request("STATUS", 4_000_000))
                with contextlib.suppress(OSError):
                    memory.answer(held[number % 50])
        child = Child(crowd, uid=ALICE, keep=(told,))
        os.close(told)
        assert os.read(ready, 1) == b"!"
        child.kill()
        child.reap()
        os.close(ready)
    wait_for(lambda: daemon.usage(ALICE)["descriptors"] == "0", "nothing charged to ALICE")


def test_a_silent_connection_is_closed(daemon, quiet):
    with connect(daemon.mount) as connection:
        assert connection.recv(1) == b"", "the end, after a while and before the test's timeout"


# --- without root --------------------------------------------------------------------------------

def is_gone(mount):
    return not os.listdir(os.path.join(mount, "flows"))


@in_python
def test_without_root_the_library_maps_all_the_same(rootless):
    rootless.start()

    def exchange():
        os.mkdir(os.path.join(rootless.mount, "names", "n"))
        server = flowfs.accept("n", rootless.mount, timeout=0)
        with flowfs.dial("n", rootless.mount, timeout=10) as client, server:
            client.send(b"hello", timeout=5)
            assert server.recv(5) == b"hello"
            pool = client.shared_pool
            return client.is_mapped, server.is_mapped, pool != 0 and pool == server.shared_pool
    assert as_user(USER, exchange) == (True, True, True)
    version = as_user(USER, read_text, rootless.mount + "/version").splitlines()
    assert "passthrough no" in version and "socket yes" in version
    wait_for(lambda: as_user(USER, is_gone, rootless.mount), "no flow")
    rootless.process.terminate()
    assert rootless.process.wait(10) == 0, rootless.log.read_text()
    assert os.listdir(rootless.runtime) == []


def test_without_root_nobody_else_is_served_who_may_not_look(rootless):
    rootless.start()
    os.chmod(rootless.runtime, 0o755)
    allowed = os.path.exists("/etc/fuse.conf") and "user_allow_other" in read_text(
        "/etc/fuse.conf").splitlines()
    expected = errno.ENOENT if allowed else errno.EACCES
    for uid, wanted in ((ROOT, expected), (BOB, expected), (USER, errno.ENOENT)):
        assert as_user(uid, outcome_of, rootless.mount, "STATUS", 4_000_000, READ) == wanted
    rootless.process.terminate()
    assert rootless.process.wait(10) == 0
