# SPDX-License-Identifier: BSD-3-Clause
"""VDE clients that plug into an Ethernet bus: ours, which lie too, and Debian's."""

import errno
import os
import signal
import socket

import acls
import pytest
from buses import Bus
from frames import BROADCAST, frame, lab, station, wait_answer  # pylint: disable=unused-import
from harness import read_text, track, write_text
from procs import as_user, sh, wait_for
from rootless import USER, rootless  # pylint: disable=unused-import
from sysc import raises_errno
from vde import Client, client, folder_of, need, own_path, request, running

ALICE, STRANGER, STAFF = 61001, 61002, 61050
LONGEST = 1600


@pytest.fixture
def switch(bus):
    return bus.set("policy", "switch")


def refused(daemon, reason):
    return int(daemon.metrics().get(
        ("flowfs_refused_total", frozenset({("operation", "vde"), ("reason", reason)})), 0))


def wait_idle(daemon):
    wait_for(lambda: daemon.metrics()["flowfs_vde_connections", frozenset()] == 0, "no connection")


def numbered(number):
    return frame(BROADCAST, station(1), payload=number.to_bytes(4, "big"))


def number_in(data):
    return int.from_bytes(data[14:18], "big")


# --- the link ------------------------------------------------------------------------------------
def test_only_an_ethernet_bus_has_a_link(bus):
    link = bus.file("vde")
    assert "vde" not in os.listdir(bus.path) and not os.path.lexists(link)
    with raises_errno(errno.ENOENT):
        os.readlink(link)
    bus.set("policy", "hub")
    folder = os.readlink(link)
    assert "vde" in os.listdir(bus.path)
    assert os.listdir(folder) == ["ctl"] and os.path.dirname(folder) == bus.daemon.mount + ".vde"
    bus.set("policy", "broadcast")
    assert not os.path.lexists(link) and not os.path.exists(folder)


def test_the_link_follows_the_bus(daemon, switch):
    folder = folder_of(switch)
    os.rename(switch.path, switch.path + "2")
    with client(folder_of(Bus(daemon, switch.name + "2"))) as one:
        one.plug()
        with raises_errno(errno.EBUSY):
            os.rmdir(switch.path + "2")
    wait_idle(daemon)
    os.rmdir(switch.path + "2")
    assert not os.path.exists(folder)


# --- membership ----------------------------------------------------------------------------------
def test_a_client_is_a_member_as_long_as_its_connection(daemon, switch):
    member = switch.join(os.O_RDWR | os.O_NONBLOCK)
    events = track(os.open(switch.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    with client(folder_of(switch)) as one:
        one.plug()
        line = switch.members()[2]
        assert (line.uid, line.pid, line.mode) == (0, os.getpid(), "rw")
        assert read_text(switch.file("port", "2", "name")) == "test"
        one.data.send(frame(BROADCAST, station(2)))
        wait_for(lambda: switch.stats()["sent"] == 1, "the frame")
        assert os.read(member, LONGEST) == frame(BROADCAST, station(2))
        os.write(member, frame(station(2), station(1)))
        assert one.data.recv(LONGEST) == frame(station(2), station(1))
        assert daemon.usage(0)["ports"] == "2"
    switch.wait_members(1)
    wait_idle(daemon)
    assert os.listdir(folder_of(switch)) == ["ctl"]
    kinds = [line.split()[1] for line in os.read(events, 65536).decode().splitlines()]
    assert kinds == ["join", "leave"], kinds


def test_a_client_is_not_shut_down_as_a_file_is(switch):
    with client(folder_of(switch)) as one:
        one.plug()
        with raises_errno(errno.EOPNOTSUPP):
            write_text(switch.file("port", "1", "ctl"), "close")
        assert switch.members()[1].mode == "rw"


def test_a_client_whose_data_socket_is_closed_has_left(switch):
    member = switch.join()
    with client(folder_of(switch)) as one:
        one.plug()
        one.data.close()
        os.write(member, numbered(1))
        switch.wait_members(1)
        assert one.control.recv(1) == b""
    stats = switch.stats()
    assert stats["sent"] == stats["dropped"] == 1


def test_a_client_that_speaks_again_is_hung_up_on(daemon, switch):
    before = refused(daemon, "EINVAL")
    with client(folder_of(switch)) as one:
        one.plug()
        assert one.ask() is None
        switch.wait_members(0)
    assert refused(daemon, "EINVAL") == before + 1


def test_a_request_may_come_in_parts(switch):
    with client(folder_of(switch)) as one:
        whole = request(one.path)
        one.control.sendall(whole[:5])
        one.control.sendall(whole[5:60])
        assert one.ask(whole[60:]).startswith(folder_of(switch))
        assert list(switch.members()) == [1]


def test_nobody_else_can_send_to_the_data_socket_of_a_client(switch):
    with client(folder_of(switch)) as one:
        path = one.ask()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, raises_errno(errno.EPERM):
            other.sendto(numbered(1), path)
    switch.wait_members(0)


# --- who may -------------------------------------------------------------------------------------
def rights_of(folder):
    """What is a client's who is run as somebody: hung up on, or the mode of its port."""
    with client(folder) as one:
        path = one.ask()
        return None if path is None else os.path.basename(path)


@pytest.mark.parametrize("mode, expected", [(0o700, None), (0o701, None), (0o704, "r"), (0o702, "w"), (0o706, "rw")])
def test_the_mode_of_the_bus_says_who_may(daemon, open_bus, mode, expected):
    open_bus.set("policy", "switch")
    os.chmod(open_bus.bus, mode)
    before, folder = refused(daemon, "EACCES"), folder_of(open_bus)
    if expected is None:
        assert as_user(STRANGER, rights_of, folder) is None
        assert refused(daemon, "EACCES") == before + 1
        return
    events = track(os.open(open_bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    assert as_user(STRANGER, rights_of, folder) == "1"
    joined = os.read(events, 4096).decode().splitlines()[0]
    assert f"uid={STRANGER}" in joined and f"mode={expected} " in joined, joined
    open_bus.wait_members(0)


@pytest.mark.parametrize("mode, users, uid, groups, expected", [
    (0o620, [], ALICE, [], "rw"), (0o620, [], STRANGER, [STAFF], "w"), (0o620, [], STRANGER, [], None),
    (0o064, [], ALICE, [], None), (0o064, [], STRANGER, [STAFF], "rw"), (0o064, [], STRANGER, [], "r"),
    (0o600, [(STRANGER, 4)], STRANGER, [], "r"), (0o606, [(STRANGER, 1)], STRANGER, [], None)])
def test_owner_group_and_list_of_the_bus_say_who_may(open_bus, mode, users, uid, groups, expected):
    os.chown(open_bus.set("policy", "switch").bus, ALICE, STAFF)
    os.chmod(open_bus.bus, mode)
    if users:
        os.setxattr(open_bus.bus, acls.ATTRIBUTE, acls.acl(mode, users=users, mask=7))
    events = track(os.open(open_bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    port = as_user(uid, rights_of, folder_of(open_bus), groups=groups)
    assert port == (expected and "1")
    if expected:
        joined = os.read(events, 4096).decode().splitlines()[0]
        assert f" uid={uid} port=1 mode={expected} " in joined
    open_bus.wait_members(0)


def test_who_may_not_reach_the_bus_may_not_plug_in(daemon, open_bus):
    open_bus.set("policy", "switch")
    os.chmod(open_bus.bus, 0o777)
    os.chmod(open_bus.path, 0o700)
    before, folder = refused(daemon, "EACCES"), folder_of(open_bus)
    assert as_user(STRANGER, rights_of, folder) is None
    assert refused(daemon, "EACCES") == before + 1


def test_frames_of_a_client_that_may_not_send_are_counted(daemon, open_bus):
    open_bus.set("policy", "switch")
    os.chmod(open_bus.bus, 0o704)
    before, folder = refused(daemon, "EACCES"), folder_of(open_bus)

    def send():
        with client(folder) as one:
            one.plug().data.send(numbered(1))
            wait_for(lambda: refused(daemon, "EACCES") == before + 1, "the refusal")
    as_user(STRANGER, send)
    assert open_bus.stats()["sent"] == 0


def test_a_client_is_charged_for_what_it_holds(daemon, open_bus):
    open_bus.set("policy", "switch")
    os.chmod(open_bus.bus, 0o777)
    folder, before = folder_of(open_bus), refused(daemon, "EDQUOT")
    as_user(ALICE, rights_of, folder)  # who is known from now on
    open_bus.wait_members(0)
    limits = daemon.path("users", str(ALICE), "limits")
    kept = read_text(limits)
    write_text(limits, "descriptors 1\n")
    assert as_user(ALICE, rights_of, folder) is None
    assert refused(daemon, "EDQUOT") == before + 1
    write_text(limits, kept)
    wait_idle(daemon)
    assert daemon.usage(ALICE)["descriptors"] == daemon.usage(ALICE)["ports"] == "0"


# --- input ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("reason, what", [
    ("EINVAL", {"magic": 1}),
    ("EPROTONOSUPPORT", {"version": 2}),
    ("EOPNOTSUPP", {"kind": 1}),
    ("EOPNOTSUPP", {"kind": 7 << 8}),
    ("EINVAL", {"family": socket.AF_INET}),
    ("EINVAL", {"description": b"x" * 129}),
])
def test_malformed_requests_are_refused(daemon, switch, reason, what):
    before = refused(daemon, reason)
    with client(folder_of(switch)) as one:
        assert one.ask(request(one.path, **what)) is None
    assert refused(daemon, reason) == before + 1
    assert switch.members() == {}


def link_to(path):
    link = own_path()
    os.symlink(path, link)
    return link


def some_file():
    path = own_path()
    os.close(os.open(path, os.O_CREAT, 0o666))
    return path


def socket_of_root():
    path = own_path()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(path)
    os.chmod(path, 0o777)
    return path


PATHS = [
    ("EINVAL", lambda daemon: ""),
    ("EINVAL", lambda daemon: "relative"),
    ("EINVAL", lambda daemon: "/tmp/"),
    ("ENOENT", lambda daemon: own_path()),
    ("EACCES", lambda daemon: daemon.path("buses", "x")),
    ("EACCES", lambda daemon: "/tmp/../tmp/x"),
    ("EACCES", lambda daemon: "/etc/passwd"),
    ("ENOTSOCK", lambda daemon: "/tmp/."),
    ("EXDEV", lambda daemon: "/tmp/.."),
    ("ENOTSOCK", lambda daemon: link_to("/run/systemd/notify")),
    ("ENOTSOCK", lambda daemon: some_file()),
    ("EPERM", lambda daemon: socket_of_root()),
]


@pytest.mark.parametrize("reason, path", PATHS)
def test_paths_of_others_are_refused(daemon, open_bus, reason, path):
    open_bus.set("policy", "switch")
    os.chmod(open_bus.bus, 0o777)
    folder, named, before = folder_of(open_bus), path(daemon), refused(daemon, reason)

    def ask():
        with client(folder) as one:
            return one.ask(request(named))
    assert as_user(STRANGER, ask) is None
    assert refused(daemon, reason) == before + 1
    assert open_bus.members() == {}
    if os.path.basename(named).startswith("vde.") and os.path.lexists(named):
        os.unlink(named)


# --- frames --------------------------------------------------------------------------------------
def test_runts_and_frames_that_are_too_long_are_counted(daemon, switch):
    switch.set("mtu", 1000)
    before = refused(daemon, "EMSGSIZE")
    with client(folder_of(switch)) as one:
        one.plug()
        one.data.send(b"short")
        one.data.send(frame(BROADCAST, station(2), payload=b"x" * 1000))
        one.data.send(frame(BROADCAST, station(2), payload=b"x" * 100000))
        one.data.send(b"")
        wait_for(lambda: switch.stats()["oversize"] + switch.stats()["runt"] == 4, "four frames")
        assert refused(daemon, "EMSGSIZE") == before + 2


def test_a_client_that_does_not_read_loses_what_is_counted_for_it_alone(switch):
    switch.set("depth", 100 * (60 + 64))
    writer, reader = switch.writer(), switch.reader()
    with client(folder_of(switch)) as one:
        one.plug()
        for number in range(1000):
            os.write(writer, numbered(number))
            assert number_in(os.read(reader, LONGEST)) == number
        members = switch.members()
        assert (members[2].dropped, members[2].delivered) == (0, 1000)
        # Its socket has some, the log the last hundred.
        taken, lost = members[3].delivered, members[3].dropped
        assert members[3].lag == 100 and lost > 0 and taken + lost == 900
        one.data.settimeout(10)
        got = [number_in(one.data.recv(LONGEST)) for _ in range(taken + 100)]
        assert got == [*range(taken), *range(900, 1000)]
    switch.wait_members(2)
    switch.check_accounts()


def test_on_a_lossless_bus_senders_wait_for_a_client(switch):
    switch.set("delivery", "lossless").set("depth", 10 * (60 + 64))
    writer = switch.writer(os.O_NONBLOCK)
    with client(folder_of(switch)) as one:
        one.plug()
        sent = 0
        with raises_errno(errno.EAGAIN):
            while True:
                os.write(writer, numbered(sent))
                sent += 1
        one.data.settimeout(10)
        assert [number_in(one.data.recv(LONGEST)) for _ in range(sent)] == [*range(sent)]
        os.write(writer, numbered(sent))
        assert switch.stats()["dropped"] == 0


def test_a_client_waits_on_a_lossless_bus_that_is_full(switch):
    switch.set("delivery", "lossless").set("depth", 10 * (60 + 64))
    reader = switch.reader(os.O_NONBLOCK)
    with client(folder_of(switch)) as one:
        one.plug().data.setblocking(False)
        sent = 0
        with raises_errno(errno.EAGAIN):
            while sent < 10000:
                one.data.send(numbered(sent))
                sent += 1
        got = []

        def drained():
            try:
                got.append(number_in(os.read(reader, LONGEST)))
            except BlockingIOError:
                pass
            return len(got) == sent
        wait_for(drained, f"{sent} frames")
        assert got == [*range(sent)]


# --- the daemon's life ---------------------------------------------------------------------------
def test_nothing_is_left_by_a_daemon_that_ends_nor_by_one_that_is_killed(fresh_daemon):
    daemon = fresh_daemon('[[bus]]\nname = "lan"\npolicy = "switch"\n').start()
    top = daemon.mount + ".vde"
    lan = Bus(daemon, "lan")
    one = Client(folder_of(lan)).plug()
    daemon.kill()
    assert one.control.recv(1) == b""
    one.close()
    assert os.path.exists(os.path.join(top, "1", "ctl"))
    daemon.start()
    with client(folder_of(lan)) as two:
        assert os.path.basename(two.plug().data.getpeername()) == "1"
        daemon.stop()
        assert two.control.recv(1) == b""
    assert not os.path.exists(top)


def test_what_lies_in_the_way_is_left_alone(fresh_daemon):
    daemon = fresh_daemon('[[bus]]\nname = "lan"\npolicy = "switch"\n')
    with open(daemon.mount + ".vde", "w", encoding="ascii") as file:
        file.write("mine")
    daemon.start()
    assert "VDE clients cannot plug in" in daemon.log()
    assert "vde" not in os.listdir(daemon.path("buses", "lan"))
    daemon.stop()
    assert read_text(daemon.mount + ".vde") == "mine"


def test_a_user_without_root_serves_vde_clients(rootless):
    rootless.start()

    def use():
        path = os.path.join(rootless.mount, "buses", "lan")
        os.mkdir(path)
        write_text(os.path.join(path, "policy"), "switch")
        folder = os.path.realpath(os.path.join(path, "vde"))
        with client(folder, data_folder=folder) as one:  # where it may write itself
            one.plug()
            return read_text(os.path.join(path, "members")).split()[:4]
    port, uid, _, mode = as_user(USER, use)
    assert (port, uid, mode) == ("1", str(USER), "rw")
    rootless.process.terminate()
    assert rootless.process.wait(10) == 0
    assert os.listdir(rootless.runtime) == []


# --- Debian's programs ---------------------------------------------------------------------------
def namespace_on(lab, bus, address):
    host = lab.namespace()
    return host, lab.tap(bus, host, address)


def other_bus(daemon, bus):
    path = bus.path + "-other"
    os.mkdir(path)
    return Bus(daemon, os.path.basename(path)).set("policy", "switch")


def ping(host, address):
    wait_answer(host, address)
    done = sh(f"ip netns exec {host} ping -q -c 100 -i 0.002 {address}", timeout_s=30)
    assert "100 received" in done.out, done.out


@pytest.mark.parametrize("uid", [0, STRANGER])
def test_a_cable_of_two_plugs_joins_two_buses(daemon, switch, lab, uid):
    dpipe, plug = need("dpipe"), need("vde_plug")
    other = other_bus(daemon, switch)
    one, _ = namespace_on(lab, switch, "10.98.0.1")
    namespace_on(lab, other, "10.98.0.2")
    for bus in (switch, other):
        os.chmod(bus.bus, 0o706)
    with running("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                 dpipe, plug, switch.file("vde"), "=", plug, other.file("vde")):
        for bus in (switch, other):
            bus.wait_members(2)
            assert bus.members()[2].uid == uid
        ping(one, "10.98.0.2")
    other.wait_members(1)


def test_a_tap_of_vde_plug2tap_reaches_ours(switch, lab):
    plug, name = need("vde_plug2tap"), lab.name("p")
    one, _ = namespace_on(lab, switch, "10.98.0.1")
    two = lab.namespace()
    sh(f"ip netns exec {two} ip tuntap add {name} mode tap && "
       f"ip -n {two} addr add 10.98.0.2/24 dev {name} && ip -n {two} link set {name} up")
    with running("ip", "netns", "exec", two, plug, "-s", switch.file("vde"), name):
        switch.wait_members(2)
        ping(one, "10.98.0.2")
    switch.wait_members(1)


def test_two_network_back_ends_of_qemu_join_two_buses(daemon, switch, lab):
    qemu = need("qemu-system-x86_64")
    if "vde" not in sh(f"{qemu} -machine none -netdev help").out.split():
        pytest.skip("this QEMU is built without VDE")
    other = other_bus(daemon, switch)
    one, _ = namespace_on(lab, switch, "10.98.0.1")
    namespace_on(lab, other, "10.98.0.2")
    ends = [word for number, bus in enumerate((switch, other)) for word in (
        "-netdev", f"vde,id=v{number},sock={bus.file('vde')}",
        "-netdev", f"hubport,id=h{number},hubid=1,netdev=v{number}")]
    with running(qemu, "-machine", "none", "-nodefaults", "-display", "none", *ends):
        ping(one, "10.98.0.2")
    other.wait_members(1)
