# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces attached to an Ethernet bus: TAPs in namespaces, and interfaces that are there."""

import errno
import hashlib
import os
import stat
import subprocess
import sys

import acls
import pytest
from buses import Bus
from frames import BROADCAST, Lab, Wire, frame, lab, station, wait_answer, wait_state  # pylint: disable=unused-import
from harness import close, read_values, track, write_text
from procs import as_user, paused, sh, wait_for
from sysc import raises_errno

STRANGER = 61002


@pytest.fixture
def switch(bus):
    return bus.set("policy", "switch")


def port_of(path):
    return read_values(os.path.join(path, "stats"))["port"]


def two_hosts(lab, bus):
    hosts = lab.namespace(), lab.namespace()
    taps = [lab.tap(bus, host, f"10.99.0.{number}") for number, host in enumerate(hosts, 1)]
    return hosts, taps


@pytest.mark.parametrize("policy", ["switch", "hub"])
def test_two_namespaces_reach_each_other(bus, lab, policy):
    bus.set("policy", policy)
    (one, _), taps = two_hosts(lab, bus)
    wait_answer(one, "10.99.0.2")
    done = sh(f"ip netns exec {one} ping -q -c 500 -i 0.002 10.99.0.2", timeout_s=60)
    assert "500 received" in done.out, done.out
    stats = read_values(bus.file("tap", taps[0], "stats"))
    assert stats["state"] == "up" and int(stats["frames_in"]) > 500 < int(stats["frames_out"])
    assert sorted(os.listdir(bus.file("tap"))) == sorted(taps)
    assert {line.name for line in os.scandir(bus.file("tap", taps[0]))} == {"stats"}


def test_tcp_goes_over_the_bus_whole(switch, lab, tmp_path):
    (one, two), _ = two_hosts(lab, switch)
    wait_answer(one, "10.99.0.2")
    data = tmp_path / "data"
    data.write_bytes(os.urandom(32 << 20))
    done = sh(f"""ip netns exec {two} socat -u TCP-LISTEN:5201 - | sha256sum & reader=$!
                  ip netns exec {one} socat -u {data} TCP:10.99.0.2:5201,retry=100,interval=0.1
                  wait $reader""", timeout_s=90)
    assert done.out.split()[0] == hashlib.sha256(data.read_bytes()).hexdigest()


def test_what_interfaces_leave_to_be_cut_up_is_sent_as_often_as_it_is_read(bus, lab):
    bus.set("policy", "hub").set("depth", 64 << 20)
    (one, two), taps = two_hosts(lab, bus)
    reader = bus.reader()
    wait_answer(one, "10.99.0.2")
    sh(f"""ip netns exec {two} socat -u TCP-LISTEN:5202 /dev/null &
            head -c 4000000 /dev/zero | ip netns exec {one} socat -u - TCP:10.99.0.2:5202,retry=100,interval=0.1
            wait""", timeout_s=60)
    with raises_errno(errno.EOPNOTSUPP):
        write_text(bus.file("port", port_of(bus.file("tap", taps[0])), "ctl"), "close")

    def agree():
        sent = {port: int(read_values(bus.file("port", str(port), "stats"))["sent"]) for port in (1, 2)}
        due = {port: m.delivered + m.dropped + m.lag for port, m in bus.members().items()}
        return sent if [due[1], due[2], bus.stats()["sent"]] == [sent[2], sent[1], sum(sent.values())] else None
    sent = wait_for(agree, "sent and read to be the same")
    assert sum(sent.values()) >= 4_000_000 // 1460
    # The reader came a moment after the first frames, and takes them one by one.
    assert bus.members()[3].lag >= 4_000_000 // 1460
    close(reader)


def test_members_that_are_no_interface_get_finished_frames(switch, lab):
    """The kernel leaves checksums to whoever takes the frames of a TAP."""
    (one, _), taps = two_hosts(lab, switch)
    wait_answer(one, "10.99.0.2")
    member = switch.join(os.O_RDWR | os.O_NONBLOCK)
    # What is sent to a station that nobody knows is flooded, to the member too.
    sh(f"""ip -n {one} neigh replace 10.99.0.77 lladdr 02:00:00:00:00:77 dev {taps[0]} nud permanent
           ip netns exec {one} bash -c 'printf hello >/dev/udp/10.99.0.77/7000'""")
    datagrams = []

    def arrived():
        try:
            got = os.read(member, 70000)
        except BlockingIOError:
            return False
        datagrams.extend([got] if got[:6] == b"\2\0\0\0\0\x77" else [])
        return datagrams
    wait_for(arrived, "the datagram")
    addresses, udp = datagrams[0][26:34], datagrams[0][34:]
    assert udp[8:] == b"hello"
    assert checksum(addresses + b"\0\x11" + len(udp).to_bytes(2, "big") + udp + b"\0") == 0


def checksum(data):
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def test_what_comes_from_an_access_port_is_tagged_on_a_trunk(switch, lab):
    one = lab.namespace()
    tap = lab.tap(switch, one, "10.99.0.1")
    member = switch.join(os.O_RDWR | os.O_NONBLOCK)
    write_text(switch.file("port", "1", "vlan"), "access 10")
    write_text(switch.file("port", "2", "vlan"), "trunk 10")
    sh(f"ip netns exec {one} ping -q -c 1 -W 1 10.99.0.2", check=False)
    requests = []

    def arrived():
        try:
            requests.append(os.read(member, 70000))
        except BlockingIOError:
            return False
        return requests[-1][16:18] == b"\x08\x06"
    wait_for(arrived, "who has 10.99.0.2")
    assert requests[-1][12:16] == b"\x81\x00\x00\x0a"
    # The answer of a station behind the trunk, which reaches the namespace without its tag.
    mac, address = station(2), bytes([10, 99, 0, 2])
    answer = requests[-1][18:26] + mac + address + requests[-1][26:36]
    os.write(member, requests[-1][6:12] + mac + requests[-1][12:18] + answer[:7] + b"\x02" + answer[8:])
    wait_for(lambda: "02:00:00:00:00:02" in sh(f"ip -n {one} neigh show dev {tap}").out, "the neighbour")


def test_a_trunk_passes_a_tag_that_an_access_port_does_not(switch, lab):
    wires = []
    for vlan in ("access 10", "access 20", "trunk 10,20", "trunk 20"):
        host = lab.namespace()
        tap = lab.tap(switch, host, "10.99.0.1")
        write_text(switch.file("port", port_of(switch.file("tap", tap)), "vlan"), vlan)
        wires.append(Wire(host, tap))
    ten, twenty, both, other = wires
    ten.send(b"from 10")
    wait_for(lambda: both.has(10, b"from 10"), "the tag of its VLAN")
    both.send(b"to 10", 10)
    both.send(b"to 20", 20)
    wait_for(lambda: ten.has(None, b"to 10"), "what has lost its tag")
    wait_for(lambda: twenty.has(None, b"to 20") and other.has(20, b"to 20"), "what is of the other VLAN")
    ten.send(b"tagged", 10)
    ten.send(b"tagged", 20)
    wait_for(lambda: port_stats(switch, ten, wires)["wrong-vlan"] == 2, "both refused")
    ten.send(b"the last")
    wait_for(lambda: both.has(10, b"the last"), "what came after them")
    assert (ten.got, twenty.got, other.got) == ([(None, b"to 10")], [(None, b"to 20")], [(20, b"to 20")])
    assert both.got == [(10, b"from 10"), (10, b"the last")]
    for wire in wires:
        wire.socket.close()


def port_stats(bus, wire, wires):
    path = bus.file("port", str(wires.index(wire) + 1), "stats")
    return {key: int(value) for key, value in read_values(path).items()}


def test_a_vlan_interface_of_the_kernel_reaches_an_access_port(switch, lab):
    (one, two), taps = two_hosts(lab, switch)
    trunk = taps[1]
    if sh(f"ip -n {two} link add link {trunk} name tag10 type vlan id 10", check=False).status != 0:
        pytest.skip("the kernel has no VLAN interfaces")
    sh(f"ip -n {two} addr flush dev {trunk} && "
       f"ip -n {two} addr add 10.99.0.2/24 dev tag10 && ip -n {two} link set tag10 up")
    ports = [switch.file("port", port_of(switch.file("tap", tap)), "vlan") for tap in taps]
    write_text(ports[0], "access 10")
    write_text(ports[1], "trunk 10,20")
    wait_answer(one, "10.99.0.2")
    write_text(ports[0], "access 20")
    assert sh(f"ip netns exec {one} ping -q -c 2 -i 0.2 -W 1 10.99.0.2", check=False).status != 0
    write_text(ports[0], "access 10")
    write_text(ports[1], "access 10")
    assert sh(f"ip netns exec {one} ping -q -c 2 -i 0.2 -W 1 10.99.0.2", check=False).status != 0


def test_a_grabbed_interface_is_a_member(switch, lab):
    (one, _), _ = two_hosts(lab, switch)
    other = lab.namespace()
    ours, theirs = lab.veth()
    sh(f"ip link set {ours} up")
    lab.move(theirs, other, "10.99.0.3")
    grabbed = lab.attach(switch, "grab", ours)
    wait_answer(one, "10.99.0.3")
    done = sh(f"ip netns exec {other} ping -q -c 100 -i 0.002 10.99.0.1", timeout_s=30)
    assert "100 received" in done.out, done.out
    assert "promiscuity 1" in sh(f"ip -d link show {ours}").out
    lab.detach(grabbed)
    wait_for(lambda: "promiscuity 0" in sh(f"ip -d link show {ours}").out, "no more promiscuity")


# Datagrams of so many bytes (0: what is sent is one), so many bytes at once, so many times.
_SEND = """
import socket, sys
segment, each, count = map(int, sys.argv[1:])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.setsockopt(17, 103, segment)  # UDP_SEGMENT
    for _ in range(count):
        udp.sendto(bytes(each), ("10.99.0.77", 7000))
"""


def sender_to_nobody(lab, bus):
    """What sends to a station that is not there, through a grabbed interface; and its folder."""
    host = lab.namespace()
    ours, theirs = lab.veth()
    sh(f"ip link set {ours} up")
    lab.move(theirs, host, "10.99.0.3")
    sh(f"ip -n {host} neigh replace 10.99.0.77 lladdr 02:00:00:00:00:77 dev {theirs} nud permanent")
    grabbed = lab.attach(bus, "grab", ours)
    sh(f"ip netns exec {host} sysctl -qw net.ipv6.conf.all.disable_ipv6=1")

    def send(*numbers):
        subprocess.run(["ip", "netns", "exec", host, sys.executable, "-c", _SEND, *map(str, numbers)],
                       check=True, timeout=30)
    return send, grabbed


def test_datagrams_that_are_sent_as_one_are_so_many_to_others(switch, lab):
    send, grabbed = sender_to_nobody(lab, switch)
    member = switch.join(os.O_RDWR | os.O_NONBLOCK)
    send(1000, 3500, 1)
    lengths = []

    def arrived():
        try:
            got = os.read(member, 70000)
        except BlockingIOError:
            return len(lengths) == 4
        lengths.extend([len(got)] if got[:6] == b"\2\0\0\0\0\x77" else [])
        return len(lengths) == 4
    wait_for(arrived, "four datagrams")
    assert lengths == [1042, 1042, 1042, 542]
    assert read_values(switch.file("port", port_of(grabbed), "stats"))["malformed"] == "0"


def test_what_comes_to_an_interface_too_fast_is_counted(daemon, switch, lab):
    send, grabbed = sender_to_nobody(lab, switch)
    count = 20000
    with paused(daemon.process.pid):
        send(0, 1400, count)  # 28 MB: more than there is room for

    def told():
        stats = {key: value for key, value in read_values(os.path.join(grabbed, "stats")).items()
                 if key in ("frames_in", "lost_in")}
        return stats if sum(map(int, stats.values())) >= count else None
    assert int(wait_for(told, "every frame to be accounted for")["lost_in"]) > 0


def test_a_grabbed_interface_goes_down_and_away_and_comes_back(switch, lab):
    ours, theirs = lab.veth()
    sh(f"ip link set {ours} up && ip link set {theirs} up")
    events = track(os.open(switch.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    grabbed = lab.attach(switch, "grab", ours)
    sh(f"ip link set {ours} down")
    wait_state(grabbed, "down")
    sh(f"ip link del {ours}")
    wait_state(grabbed, "away")
    sh(f"ip link add {ours} type veth peer name {theirs} && ip link set {ours} up && ip link set {theirs} up")
    wait_state(grabbed, "up")
    member = switch.join(os.O_RDWR | os.O_NONBLOCK)
    os.write(member, frame(BROADCAST, station(1)))
    wait_for(lambda: int(read_values(os.path.join(grabbed, "stats"))["frames_out"]) > 0, "a frame out")
    lines = os.read(events, 65536).decode().splitlines()
    states = [line.rsplit("state=", 1)[1] for line in lines if " link " in line]
    assert states[:2] == ["down", "away"] and states[-1] == "up"


def sends_until(bus, path, condition, what):
    """Broadcasts until the counts of the interface are so: it is by what it takes that its state is known."""
    member = bus.join(os.O_RDWR | os.O_NONBLOCK)

    def sent():
        os.write(member, frame(BROADCAST, station(1)))
        return condition(read_values(os.path.join(path, "stats")))
    wait_for(sent, what)
    close(member)


def test_a_tap_goes_down_and_comes_back(switch, lab):
    name = Lab.name("t")
    path = lab.attach(switch, "tap", name)
    sh(f"ip link set {name} up")
    sends_until(switch, path, lambda stats: int(stats["frames_out"]) > 0, "a frame out")
    sh(f"ip link set {name} down")
    sends_until(switch, path, lambda stats: stats["state"] == "down", "down")
    before = int(read_values(os.path.join(path, "stats"))["frames_out"])
    sh(f"ip link set {name} up")
    sends_until(switch, path, lambda stats: stats["state"] == "up" and int(stats["frames_out"]) > before, "up")


def test_a_tap_that_is_deleted_is_made_again(switch, lab):
    name = Lab.name("t")
    events = track(os.open(switch.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    path = lab.attach(switch, "tap", name)
    sh(f"ip link del {name}")
    lines = []

    def told(state):
        try:
            lines.extend(os.read(events, 65536).decode().splitlines())
        except BlockingIOError:
            pass
        return any(line.endswith(f"name={name} state={state}") for line in lines)
    wait_for(lambda: told("away"), "away")
    wait_for(lambda: told("up"), "up")
    sh(f"ip link set {name} up")
    before = int(read_values(os.path.join(path, "stats"))["frames_out"])
    sends_until(switch, path, lambda stats: int(stats["frames_out"]) > before, "a frame out of the new one")
    lab.detach(path)
    wait_for(lambda: sh(f"ip link show {name}", check=False).status != 0, "no interface")


def test_what_cannot_be_attached(bus, lab):
    tap, grab = bus.file("tap"), bus.file("grab")
    with raises_errno(errno.EOPNOTSUPP):
        os.mkdir(os.path.join(tap, "x"))
    bus.set("policy", "switch")
    for name in ("sixteen-bytes-xx", "a%d", "a:1", "a b"):
        with raises_errno(errno.EINVAL):
            os.mkdir(os.path.join(tap, name))
    with raises_errno(errno.ENODEV):
        os.mkdir(os.path.join(grab, Lab.name("x")))
    with raises_errno(errno.EMEDIUMTYPE):
        os.mkdir(os.path.join(grab, "lo"))
    made = lab.attach(bus, "tap", Lab.name("t"))
    with raises_errno(errno.EEXIST):
        os.mkdir(made)
    with raises_errno(errno.EBUSY):  # every frame would come back, without end
        os.mkdir(os.path.join(grab, os.path.basename(made)))
    with raises_errno(errno.EBUSY):
        os.rmdir(bus.path)
    with raises_errno(errno.EBUSY):
        bus.set("policy", "hub")
    with raises_errno(errno.EPERM):
        os.mkdir(os.path.join(made, "x"))
    with raises_errno(errno.ENOENT):
        os.rmdir(os.path.join(tap, "nobody"))
    lab.detach(made)
    assert os.listdir(tap) == []
    assert bus.stats()["members"] == 0


@pytest.mark.parametrize("folder", ["tap", "grab"])
def test_who_makes_a_bus_attaches_nothing_unless_root_says_so(daemon, lab, folder):
    """Trial 9: the folders are root's whatever the mode of `bus`, and a list on them delegates."""
    bus = Bus(daemon, Lab.name("b"))
    as_user(STRANGER, os.mkdir, bus.path)
    as_user(STRANGER, write_text, bus.file("policy"), "switch")
    as_user(STRANGER, os.chmod, bus.bus, 0o777)
    where = bus.file(folder)
    path = os.path.join(where, lab.veth()[0] if folder == "grab" else Lab.name("t"))

    def denied():
        with raises_errno(errno.EACCES):
            os.mkdir(path)
        with raises_errno(errno.EPERM):
            os.chmod(where, 0o777)
    as_user(STRANGER, denied)
    found = os.stat(where)
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o755, 0, 0)
    os.setxattr(where, acls.ATTRIBUTE, acls.acl(0o755, users=[(STRANGER, 7)], mask=7))
    as_user(STRANGER, os.mkdir, path)
    lab.attached.append(path)
    assert bus.members()[1].uid == STRANGER


def test_only_whom_root_lets_attaches(open_bus, lab):
    open_bus.set("policy", "switch")
    os.chmod(open_bus.bus, 0o777)
    tap = open_bus.file("tap")
    name = Lab.name("t")
    path = os.path.join(tap, name)

    def denied():
        with raises_errno(errno.EACCES):
            os.mkdir(path)
    as_user(STRANGER, denied)
    assert os.stat(tap).st_mode & 0o7777 == 0o755
    os.chown(tap, -1, STRANGER)
    os.chmod(tap, 0o775)
    as_user(STRANGER, os.mkdir, path)
    lab.attached.append(path)
    assert open_bus.members()[1].uid == STRANGER
    sh(f"ip link show {name}")
