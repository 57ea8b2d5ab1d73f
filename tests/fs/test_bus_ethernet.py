# SPDX-License-Identifier: BSD-3-Clause
"""Buses that are an Ethernet: switch and hub, VLANs, loops and captures, between open files."""

import errno
import os
import struct
import subprocess
import time

import pytest
from frames import BROADCAST, frame, station
from harness import close, read_text, read_values, track, write_text
from procs import Child, as_user, has_open, wait_blocked, wait_for
from sysc import open_once, raises_errno
from vde import need

STRANGER = 61002


@pytest.fixture
def switch(bus):
    return bus.set("policy", "switch")


def ports(bus, count):
    return [bus.join(os.O_RDWR | os.O_NONBLOCK) for _ in range(count)]


def received(fd):
    messages = []
    while True:
        try:
            messages.append(os.read(fd, 70000))
        except BlockingIOError:
            return messages


def drops(bus, port):
    return {key: int(value) for key, value in read_values(bus.file("port", str(port), "stats")).items()}


def test_a_switch_learns_where_stations_are(switch):
    one, two, three = ports(switch, 3)
    hello, answer = frame(BROADCAST, station(1)), frame(station(1), station(2))
    os.write(one, hello)
    assert [received(fd) for fd in (one, two, three)] == [[], [hello], [hello]]
    os.write(two, answer)
    assert [received(fd) for fd in (one, two, three)] == [[answer], [], []]
    macs = [line.split() for line in read_text(switch.file("macs")).splitlines()]
    assert [mac[:3] for mac in macs] == [["02:00:00:00:00:01", "0", "1"], ["02:00:00:00:00:02", "0", "2"]]
    close(two)
    switch.wait_members(2)
    assert "02:00:00:00:00:02" not in read_text(switch.file("macs"))
    assert switch.stats()["stations"] == 1


def test_the_age_of_a_station_is_since_it_was_heard(switch):
    one, = ports(switch, 1)
    before = time.monotonic()
    os.write(one, frame(BROADCAST, station(1)))
    heard = time.monotonic()

    def age_s():
        return int(read_text(switch.file("macs")).split()[3]) / 1e6
    wait_for(lambda: age_s() > 1e-6, "a later time")
    asked, age = time.monotonic(), age_s()
    assert asked - heard - 1e-6 <= age <= time.monotonic() - before


def test_a_hub_sends_to_everybody(bus):
    bus.set("policy", "hub")
    one, two, three = ports(bus, 3)
    os.write(two, frame(BROADCAST, station(2)))
    received(one), received(three)
    os.write(one, frame(station(2), station(1)))
    assert [len(received(fd)) for fd in (one, two, three)] == [0, 1, 1]
    assert read_text(bus.file("macs")) == ""


def test_the_policy_of_a_bus_in_use_stays(switch):
    fd, = ports(switch, 1)
    for policy in ("hub", "broadcast"):
        with raises_errno(errno.EBUSY):
            switch.set("policy", policy)
    with raises_errno(errno.EINVAL):
        switch.set("policy", "router")
    assert switch.get("policy") == "switch"
    close(fd)
    switch.wait_members(0)
    switch.set("policy", "hub").set("policy", "broadcast")
    assert switch.get("policy") == "broadcast"


def test_what_was_sent_under_another_policy_is_no_history(bus):
    bus.set("history", 3)
    sender = bus.writer()
    os.write(sender, b"no frame")
    close(sender)
    bus.wait_members(0)
    early = bus.reader(os.O_NONBLOCK)
    assert received(early) == [b"no frame"]
    close(early)
    bus.wait_members(0)
    bus.set("policy", "switch")
    assert received(bus.reader(os.O_NONBLOCK)) == []


def test_frames_are_no_longer_than_the_mtu(switch):
    assert switch.get("mtu") == "65536"
    with raises_errno(errno.ERANGE):
        switch.set("mtu", 65537)
    switch.set("mtu", 1514)
    one, two = ports(switch, 2)
    with raises_errno(errno.EMSGSIZE):
        os.write(one, frame(BROADCAST, station(1), payload=b"x" * 1501))
    os.write(one, frame(BROADCAST, station(1), payload=b"x" * 1500))
    assert [len(message) for message in received(two)] == [1514]
    assert drops(switch, 1)["oversize"] == 1


def test_bad_frames_are_dropped_and_counted(switch):
    one, two = ports(switch, 2)
    os.write(one, b"x" * 13)
    os.write(one, frame(BROADCAST, station(1), 10)[:17])
    os.write(one, frame(station(2), BROADCAST))
    assert received(two) == []
    counts = drops(switch, 1)
    assert (counts["runt"], counts["bad-source"]) == (2, 1)
    assert switch.stats()["runt"] == 2


def test_metrics_tell_why_nobody_got_a_frame_and_what_a_switch_knows(daemon, switch):
    one, two = ports(switch, 2)
    for data in (b"short", frame(BROADCAST, BROADCAST), frame(BROADCAST, station(1)), frame(station(1), station(2))):
        os.write(one, data)
    os.write(two, frame(BROADCAST, station(1)))
    metrics, name = daemon.metrics(), ("bus", switch.name)
    undelivered = {reason: metrics["flowfs_bus_undelivered_frames_total", frozenset({name, ("reason", reason)})]
                   for reason in ("runt", "bad-source", "same-port", "oversize")}
    assert undelivered == {"runt": 1, "bad-source": 1, "same-port": 1, "oversize": 0}
    assert metrics["flowfs_bus_stations", frozenset({name})] == 2
    assert metrics["flowfs_bus_station_moves_total", frozenset({name})] == 1


def test_vlans_of_ports(switch):
    access, trunk, other = ports(switch, 3)
    for port, vlan in ((1, "access 10"), (2, "trunk 10,20"), (3, "access 20")):
        write_text(switch.file("port", str(port), "vlan"), vlan + "\n")
        assert read_text(switch.file("port", str(port), "vlan")) == vlan
    os.write(access, frame(BROADCAST, station(1)))
    assert received(trunk) == [frame(BROADCAST, station(1), 10)]
    assert received(other) == []
    os.write(trunk, frame(BROADCAST, station(2), 20))
    assert [received(access), received(other)] == [[], [frame(BROADCAST, station(2))]]
    os.write(access, frame(BROADCAST, station(1), 10))
    assert drops(switch, 1)["wrong-vlan"] == 1
    assert received(trunk) == []
    two_tags = frame(BROADCAST, station(2), 10, 7)
    os.write(trunk, two_tags)
    assert received(access) == [frame(BROADCAST, station(2), 7)]


def test_what_is_sent_is_what_each_reader_got_or_lost(bus):
    bus.set("policy", "hub").set("depth", 20 * (64 + 64))
    writer, access, trunk = ports(bus, 3)
    for port, vlan in ((1, "access 10"), (2, "access 10"), (3, "trunk 10")):
        write_text(bus.file("port", str(port), "vlan"), vlan)
    for _ in range(100):
        os.write(writer, frame(BROADCAST, station(1)))
    assert 0 < len(received(access)) < 20 and 0 < len(received(trunk)) < 20
    assert bus.stats()["sent"] == drops(bus, 1)["sent"] == 100
    assert [m.delivered + m.dropped for m in bus.members().values()] == [0, 100, 100]


def test_a_lossless_bus_gives_a_frame_to_all_its_ports_or_to_none(bus):
    bus.set("policy", "hub").set("delivery", "lossless").set("depth", 5 * (64 + 64))
    writer, access, trunk = ports(bus, 3)
    for port, vlan in ((1, "access 10"), (2, "access 10"), (3, "trunk 10")):
        write_text(bus.file("port", str(port), "vlan"), vlan)
    sent = 0
    with raises_errno(errno.EAGAIN):
        while True:
            os.write(writer, frame(BROADCAST, station(1), payload=b"%d" % sent))
            sent += 1
    assert 0 < sent < 5
    child = Child(lambda: os.set_blocking(writer, True) or
                  os.write(writer, frame(BROADCAST, station(1))), keep=[writer])
    wait_blocked(child.pid, "write")
    frames = [received(fd) for fd in (access, trunk)]
    child.result()
    for fd, got in zip((access, trunk), frames):
        got += received(fd)
        assert [one.rstrip(b"\0")[-1:] for one in got] == [b"0", b"1", b"s"][-len(got):]
        assert len(got) == sent + 1
    stats = bus.stats()
    assert (stats["sent"], stats["dropped"]) == (sent + 1, 0)


def test_a_vlan_that_makes_no_sense_changes_nothing(switch):
    ports(switch, 1)
    vlan = switch.file("port", "1", "vlan")
    for text in ("access", "trunk 10,", "native 1", ""):
        with raises_errno(errno.EINVAL):
            write_text(vlan, text + "\n")
    for text in ("access 0", "access 4095", "trunk 1-5000"):
        with raises_errno(errno.ERANGE):
            write_text(vlan, text)
    assert read_text(vlan) == "any"


def test_who_manages_the_bus_sets_vlans_and_no_member_does(open_bus):
    open_bus.set("policy", "switch")
    ports(open_bus, 1)
    vlan, name = (open_bus.file("port", "1", file) for file in ("vlan", "name"))

    def denied():
        with raises_errno(errno.EACCES):
            os.open(vlan, os.O_WRONLY)

    as_user(STRANGER, denied)
    os.chmod(open_bus.bus, 0o767)
    as_user(STRANGER, write_text, vlan, "access 5")
    assert read_text(vlan) == "access 5"
    with raises_errno(errno.EPERM):
        os.chmod(vlan, 0o666)
    write_text(name, "uplink")
    assert read_text(name) == "uplink"
    with raises_errno(errno.EINVAL):
        write_text(name, "two words")
    with raises_errno(errno.ERANGE):
        write_text(name, "x" * 64)
    assert read_text(name) == "uplink"


def test_a_message_bus_has_no_vlans(bus):
    ports(bus, 1)
    with raises_errno(errno.EOPNOTSUPP):
        read_text(bus.file("port", "1", "vlan"))
    with raises_errno(errno.EOPNOTSUPP):
        write_text(bus.file("port", "1", "vlan"), "access 5")


def test_a_loop_shuts_the_newer_port(switch):
    host, one, two = ports(switch, 3)
    events = track(os.open(switch.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    os.write(host, frame(BROADCAST, station(1)))
    for _ in range(100):  # a cable between two ports of the bus
        for source, sink in ((one, two), (two, one)):
            for message in received(source):
                os.write(sink, message)
    assert received(one) == received(two) == []
    lines = [line for line in os.read(events, 65536).decode().splitlines() if " shut " in line]
    assert len(lines) == 1 and lines[0].endswith("port=3 reason=loop")
    assert drops(switch, 3)["shut"] == 1 and drops(switch, 2)["shut"] == 0
    os.write(host, frame(BROADCAST, station(1), payload=b"later"))
    assert len(received(one)) == 1 and received(two) == []
    os.write(two, frame(BROADCAST, station(9)))
    assert drops(switch, 3)["looped"] >= 1


def blocks_of(stream):
    """(type, body) of each block."""
    blocks, at = [], 0
    while at < len(stream):
        kind, length = struct.unpack_from("=II", stream, at)
        assert struct.unpack_from("=I", stream, at + length - 4) == (length,)
        blocks.append((kind, stream[at + 8:at + length - 4]))
        at += length
    return blocks


def option(options, code):
    """The number in an option of a block."""
    while options:
        kind, length = struct.unpack_from("=HH", options)
        if kind == code:
            return struct.unpack_from("=Q", options, 4)[0]
        if kind == 0:
            return None
        options = options[4 + (length + 3) // 4 * 4:]
    return None


def drain(fd):
    parts = b""
    while True:
        try:
            parts += os.read(fd, 65536)
        except BlockingIOError:
            return parts


def test_a_capture_keeps_what_is_sent_and_begins_at_its_open(switch):
    one, two = ports(switch, 2)
    os.write(one, frame(BROADCAST, station(1), payload=b"before"))
    pcap = track(open_once(switch.file("pcap"), os.O_RDONLY | os.O_NONBLOCK))
    sent = [frame(BROADCAST, station(1)), frame(station(1), station(2))]
    os.write(one, sent[0])
    os.write(two, sent[1])
    blocks = blocks_of(drain(pcap))
    assert [kind for kind, _ in blocks] == [0x0a0d0d0a, 1, 6, 1, 6]
    assert [b"port 1" in blocks[1][1], b"port 2" in blocks[3][1]] == [True, True]
    assert [blocks[i][1][20:20 + len(sent[0])] for i in (2, 4)] == sent
    with raises_errno(errno.EAGAIN):
        os.read(pcap, 1)


def test_a_slow_reader_of_a_capture_is_told_what_it_lost(switch):
    one, two = ports(switch, 2)
    pcap = track(open_once(switch.file("pcap"), os.O_RDONLY | os.O_NONBLOCK))
    message = frame(BROADCAST, station(1), payload=b"x" * 10000)
    for _ in range(200):
        os.write(one, message)
        received(two)
    first = blocks_of(drain(pcap))
    os.write(one, message)
    second = blocks_of(drain(pcap))
    kept = sum(kind == 6 for kind, _ in first)
    assert 80 < kept < 120
    assert [kind for kind, _ in second] == [5, 6]
    lost = 200 - kept
    assert (option(second[0][1][12:], 4), option(second[0][1][12:], 5)) == (201, lost)
    packet = second[1][1]
    assert option(packet[20 + (len(message) + 3) // 4 * 4:], 4) == lost


def test_a_capture_is_for_who_may_receive(open_bus):
    def denied():
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("pcap"), os.O_RDONLY)
    os.chmod(open_bus.bus, 0o762)
    as_user(STRANGER, denied)
    os.chmod(open_bus.bus, 0o764)
    as_user(STRANGER, lambda: os.close(os.open(open_bus.file("pcap"), os.O_RDONLY)))


def test_a_capture_goes_on_when_the_bus_becomes_an_ethernet(bus):
    pcap = track(open_once(bus.file("pcap"), os.O_RDONLY | os.O_NONBLOCK))
    one, = ports(bus, 1)
    os.write(one, b"message")
    close(one)
    bus.wait_members(0)
    bus.set("policy", "switch")
    one, = ports(bus, 1)
    os.write(one, frame(BROADCAST, station(1)))
    blocks = blocks_of(drain(pcap))
    assert [kind for kind, _ in blocks] == [0x0a0d0d0a, 1, 6, 1, 6]
    assert [struct.unpack_from("=H", blocks[i][1]) for i in (1, 3)] == [(147,), (1,)]
    assert [struct.unpack_from("=I", blocks[i][1]) for i in (2, 4)] == [(0,), (1,)]


def test_a_capture_ends_with_its_bus(bus):
    pcap = track(open_once(bus.file("pcap"), os.O_RDONLY))
    assert os.read(pcap, 65536) != b""
    os.rmdir(bus.path)
    assert os.read(pcap, 65536) == b""


@pytest.mark.parametrize("policy, what, shown", [
    ("switch", frame(BROADCAST, station(1), 10), "port 1\t64\t02:00:00:00:00:01\t10\n"),
    ("broadcast", b"hello", "port 1\t5\t\t\n"),
])
def test_tshark_reads_a_capture_as_it_flows(bus, policy, what, shown):
    need("tshark")
    bus.set("policy", policy)
    fd, = ports(bus, 1)
    with subprocess.Popen(["tshark", "-n", "-l", "-c", "1", "-i", "-", "-T", "fields", "-e", "frame.interface_name",
                           "-e", "frame.len", "-e", "eth.src", "-e", "vlan.id"],
                          stdin=(pcap := os.open(bus.file("pcap"), os.O_RDONLY)),
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tshark:
        os.close(pcap)
        os.write(fd, what)
        assert tshark.communicate(timeout=60)[0] == shown


@pytest.mark.parametrize("program, arguments, shown", [
    ("tshark", ["-T", "fields", "-e", "frame.len", "-e", "eth.src", "-e", "vlan.id"], "64\t02:00:00:00:00:01\t10\n"),
    ("tcpdump", ["-e", "-Z", "root"], "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff"),
])
def test_a_capture_is_read_by_its_path_as_it_flows(switch, program, arguments, shown):
    one, = ports(switch, 1)
    command = [need(program), "-n", "-l", "-c", "1", *arguments, "-r", switch.file("pcap")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as reader:
        wait_for(lambda: has_open(reader.pid, switch.file("pcap")), f"{program} to open the capture")
        os.write(one, frame(BROADCAST, station(1), 10))
        assert shown in reader.communicate(timeout=60)[0]
