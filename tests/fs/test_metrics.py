# SPDX-License-Identifier: BSD-3-Clause
"""`metrics`: the Prometheus text format, and counters that move with what they count."""

import errno
import os

import prometheus
import pytest
from harness import close
from procs import Child, wait_for
from sysc import raises_errno


def exposition(daemon):
    with open(daemon.path("metrics"), encoding="utf-8") as file:
        return prometheus.parse(file.read())


def total(daemon, word, **labels):
    """Sum of all samples of which the name has `word` in it and the labels include these."""
    wanted = set(labels.items())
    return sum(value for (name, found), value in exposition(daemon).samples.items()
               if word in name and wanted <= set(found))


class Moved:
    """What moved between two readings."""

    def __init__(self, daemon):
        self.daemon, self.before = daemon, exposition(daemon).samples

    def now(self):
        after = exposition(self.daemon).samples
        return {key: value - self.before.get(key, 0) for key, value in after.items()
                if value != self.before.get(key, 0)}

    def reasons(self):
        """Names and label values of what grew, as one text."""
        return " ".join(f"{name} {' '.join(v for _, v in sorted(labels))}"
                        for (name, labels), by in self.now().items() if by > 0)


def test_the_text_is_well_formed(daemon, name):
    found = exposition(daemon)
    assert found.samples
    assert set(found.types) == set(found.helps)


def test_names_have_the_prefix_and_counters_end_in_total(daemon):
    found = exposition(daemon)
    assert all(name.startswith("flowfs_") for name in found.types)
    assert all(name.endswith("_total") for name, kind in found.types.items() if kind == "counter")


def test_the_parser_refuses_what_is_not_the_format():
    for bad in ("a 1", "a{b=1} 1\n", "# TYPE a counter\na x\n", "# TYPE a counter\na -1\n",
                "# TYPE a sort\n", "# TYPE a gauge\na 1\na 1\n", "a 1\n",
                "# TYPE a gauge\n# TYPE b gauge\na{x=\"1\"} 1\nb 1\na{x=\"2\"} 1\n"):
        with pytest.raises(ValueError):
            prometheus.parse(bad)


def test_gauges_follow_names_and_flows(daemon):
    names = daemon.name("counted")
    moved = Moved(daemon)
    os.mkdir(names.path)
    assert moved.now()["flowfs_used", frozenset({("uid", "0"), ("resource", "names")})] == 1
    moved = Moved(daemon)
    ends = names.pair()
    assert moved.now()["flowfs_flow_ends", frozenset()] == 2
    assert moved.now()["flowfs_name_flows", frozenset({("name", "counted")})] == 1
    close(*ends)
    wait_for(lambda: not daemon.flow_states(), "no flows")
    assert ("flowfs_flow_ends", frozenset()) not in moved.now()


def test_messages_and_bytes_are_counted(daemon, name):
    client, server = name.pair()
    moved = Moved(daemon)
    for _ in range(10):
        os.write(client, b"x" * 100)
        os.read(server, 100)
    values = {name: by for (name, _), by in moved.now().items()}
    assert any("messages" in name and by == 10 for name, by in values.items())
    assert any("bytes" in name and by == 1000 for name, by in values.items())


def bad_name(daemon, name):
    os.mkdir(daemon.path("names", "two words"))


def bad_value(daemon, name):
    name.set("backlog", "x")


def out_of_range(daemon, name):
    name.set("mtu", "0")


def too_long(daemon, name):
    os.write(name.pair()[0], b"x" * 917505)


def refused(daemon, name):
    name.set("dial_timeout", 0).open_dial()


def expired(daemon, name):
    name.set("dial_timeout", 1).open_dial()


def bad_verb(daemon, name):
    import wire  # pylint: disable=import-outside-toplevel
    client, _ = name.pair()
    with open(daemon.path("flows", str(wire.flow_id(client)), "ctl"), "wb", buffering=0) as ctl:
        ctl.write(b"nonsense")


def unknown_file(daemon, name):
    os.close(os.open(name.file("unknown"), os.O_CREAT | os.O_WRONLY))


@pytest.mark.parametrize("mistake, number", [
    (bad_name, errno.EINVAL), (bad_value, errno.EINVAL), (out_of_range, errno.ERANGE),
    (too_long, errno.EMSGSIZE), (refused, errno.ECONNREFUSED),
    (expired, errno.ETIMEDOUT), (bad_verb, errno.EINVAL), (unknown_file, errno.EACCES)])
def test_bad_input_is_counted_with_its_reason(daemon, name, mistake, number):
    moved = Moved(daemon)
    with raises_errno(number):
        mistake(daemon, name)
    assert errno.errorcode[number].lower() in moved.reasons().lower()


def test_interrupted_waits_are_counted(daemon, name):
    client, _ = name.pair()
    moved = Moved(daemon)
    child = Child(os.read, client, 1, keep=[client]).wait_blocked("read")
    child.kill()
    child.reap()
    wait_for(lambda: "interrupt" in moved.reasons().lower() or "eintr" in moved.reasons().lower(),
             "an interrupt counted")


def test_reading_metrics_a_thousand_times_is_harmless(daemon):
    for _ in range(1000):
        total(daemon, "flow")
