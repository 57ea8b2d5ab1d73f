# SPDX-License-Identifier: BSD-3-Clause
"""[[bus]] tables of the configuration, and what `metrics` tells of buses."""

import errno
import os
import signal
import stat

import pytest
from buses import Bus
from harness import read_text
from procs import as_user, wait_for
from sysc import raises_errno

ALICE = 61001
CHAT = f"""
[[bus]]
name = "chat"
user = "{ALICE}"
group = "{ALICE}"
bus_mode = "0766"
delivery = "lossless"
mtu = 1000
depth = 2000
history = 3
writers = 4
ports = 5
evict = 6000000
"""


@pytest.fixture(scope="module")
def config():
    return CHAT


def test_a_declared_bus_is_there_from_the_start(daemon):
    chat = Bus(daemon, "chat")
    assert [chat.get(name) for name in ("policy", "delivery", "mtu", "depth", "history", "writers",
                                        "ports", "evict")] == [
        "broadcast", "lossless", "1000", "2000", "3", "4", "5", "6000000"]
    found = os.stat(chat.bus)
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o766, ALICE, ALICE)
    assert stat.S_IMODE(os.stat(chat.path).st_mode) == 0o755
    assert read_text(daemon.path("users", "0", "usage")).splitlines()[5] == "buses 1"


def test_a_declared_bus_may_be_an_ethernet(fresh_daemon):
    daemon = fresh_daemon('[[bus]]\nname = "lan"\npolicy = "switch"\n'
                          '[[bus]]\nname = "jumbo"\nmtu = 9018\npolicy = "hub"\n').start()
    lan, jumbo = Bus(daemon, "lan"), Bus(daemon, "jumbo")
    assert [bus.get(name) for bus in (lan, jumbo) for name in ("policy", "mtu")] == [
        "switch", "65536", "hub", "9018"]
    with open(daemon.config_path, "w", encoding="utf-8") as file:
        file.write('[[bus]]\nname = "lan"\npolicy = "hub"\n[[bus]]\nname = "jumbo"\nmtu = 9018\n')
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: lan.get("policy") == "hub", "the other policy")
    assert (jumbo.get("policy"), jumbo.get("mtu")) == ("broadcast", "9018")
    daemon.stop()


def test_its_log_is_paid_by_root(daemon):
    chat = Bus(daemon, "chat")
    before = int(daemon.usage(0)["bytes"])
    as_user(ALICE, lambda: os.write(os.open(chat.bus, os.O_WRONLY), b"x" * 100))
    chat.wait_members(0)
    assert int(daemon.usage(0)["bytes"]) == before + 164
    assert daemon.usage(ALICE)["bytes"] == "0"


def test_a_reload_brings_new_settings_and_new_buses(fresh_daemon):
    daemon = fresh_daemon(CHAT).start()
    chat = Bus(daemon, "chat")
    os.mkdir(daemon.path("buses", "mine"))
    member = chat.writer()
    changed = CHAT.replace("mtu = 1000", "mtu = 1001")
    with open(daemon.config_path, "w", encoding="utf-8") as file:
        file.write(changed + '[[bus]]\nname = "more"\n[[bus]]\nname = "mine"\nmtu = 7\n')
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "more" in os.listdir(daemon.path("buses")), "the new bus")
    assert chat.get("mtu") == "1001"
    assert Bus(daemon, "mine").get("mtu") == "917504"  # a user's bus stays as it is
    os.close(member)
    daemon.stop()


def test_metrics_tell_of_a_bus(daemon, bus):
    reader, writer = bus.reader(), bus.writer()
    for text in (b"one", b"four"):
        os.write(writer, text)
    os.read(reader, 100)
    labels = frozenset({("bus", bus.name)})
    metrics = daemon.metrics()
    assert [int(metrics[f"flowfs_bus_{key}", labels]) for key in (
        "members", "sent_messages_total", "sent_bytes_total", "delivered_messages_total",
        "dropped_messages_total", "lag_messages")] == [2, 2, 7, 1, 0, 1]


def test_what_is_refused_is_counted(daemon, bus):
    def refused():
        return int(daemon.metrics().get(
            ("flowfs_refused_total", frozenset({("operation", "write"), ("reason", "EMSGSIZE")})), 0))
    bus.set("mtu", 3)
    before, writer = refused(), bus.writer()
    with raises_errno(errno.EMSGSIZE):
        os.write(writer, b"four")
    assert refused() == before + 1
