# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures. Every test ends with no child, no descriptor and no flow left, or it fails."""

import itertools
import os

import pytest

import buses
import figures
import harness
import procs

_numbers = itertools.count(1)
DEFAULT_DEADLINE_S = 100  # ends what hangs; nothing is meant to take half of it on a busy machine


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): when the watchdog ends the test")
    if os.geteuid() != 0:
        pytest.exit("these tests mount and change uids: they need root", 2)
    harness.clean_up_after_the_dead()


def pytest_terminal_summary(terminalreporter):
    figures.show_and_keep(terminalreporter.write_line)


def long_run():
    """Whether the long forms of the trials were asked for."""
    return os.environ.get("FLOWFS_LONG") == "1"


def need_mapping(daemon):
    """Skips the test where the kernel does not map through the mount."""
    if "passthrough yes" not in harness.read_text(daemon.path("version")):
        pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")


@pytest.fixture(scope="module")
def config():
    """The configuration of the module's daemon; a module may override it."""
    return ""


@pytest.fixture(scope="module")
def daemon(config):
    server = harness.Daemon(config)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.clean()


@pytest.fixture
def fresh_daemon():
    """Makes daemons of one's own: fresh_daemon(config, limits=...). They need not end well."""
    made = []

    def make(*args, **kwargs):
        server = harness.Daemon(*args, **kwargs)
        made.append(server)
        return server
    yield make
    for server in made:
        log = server.log() if server.process else ""
        server.clean()
        print(log)  # shown when the test has failed
        assert not harness.SANITIZER.search(log)


@pytest.fixture
def name(daemon):
    """A new name with the default settings, owned by root, gone afterwards."""
    made = harness.Name(daemon, f"t{next(_numbers)}")
    os.mkdir(made.path)
    yield made


@pytest.fixture
def open_name(daemon):
    """The same, which every user may dial and serve."""
    made = harness.Name(daemon, f"o{next(_numbers)}")
    os.mkdir(made.path)
    os.chmod(made.path, 0o777)
    os.chmod(made.accept, 0o666)
    os.chmod(made.dial, 0o666)
    yield made


@pytest.fixture
def bus(daemon):
    """A new bus with the default settings, owned by root, gone after the test."""
    made = buses.Bus(daemon, f"b{next(_numbers)}")
    os.mkdir(made.path)
    return made


@pytest.fixture
def open_bus(daemon):
    """The same, on which everybody may receive and send."""
    made = buses.Bus(daemon, f"o{next(_numbers)}")
    os.mkdir(made.path)
    os.chmod(made.path, 0o777)
    os.chmod(made.bus, 0o766)
    return made


@pytest.fixture(autouse=True)
def nothing_left(request):
    """Guards each test with a deadline, and cleans after it."""
    marker = request.node.get_closest_marker("deadline")
    harness.Watchdog.arm(marker.args[0] if marker else DEFAULT_DEADLINE_S)
    yield
    stuck = procs.end_children()
    harness.close_tracked()
    fired = harness.Watchdog.disarm()
    assert not fired, fired
    assert not stuck, f"children that could not be killed: {stuck}"
    server = request.node.funcargs.get("daemon")
    if server and server.process.poll() is None:
        procs.wait_for(lambda: not os.listdir(server.path("flows")), "flows/ empty after the test")
        for name in set(os.listdir(server.path("names"))) - server.declared:
            path = server.path("names", name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)
        for bus in set(os.listdir(server.path("buses"))) - server.declared_buses:
            port = server.path("buses", bus, "port")
            procs.wait_for(lambda folder=port: not os.listdir(folder), "no member after the test")
            os.rmdir(os.path.dirname(port))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the daemon's log."""
    report = (yield).get_result()
    server = getattr(item, "funcargs", {}).get("daemon")
    if report.failed and server and os.path.exists(server.log_path):
        report.sections.append(("flowfsd", server.log()[-6000:]))
