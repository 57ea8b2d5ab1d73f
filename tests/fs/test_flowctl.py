# SPDX-License-Identifier: BSD-3-Clause
"""flowctl against a mounted tree: status, id, watch, doctor. serve and ping are in test_flowctl_ping."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from harness import binary
from procs import Child, as_user, sh, wait_blocked, wait_for

STRANGER = 4242


def flowctl(mount, *arguments, uid=None, timeout_s=20, columns="200"):
    """A run of flowctl to its end: status, out, err."""
    def run():
        done = subprocess.run([binary("flowctl"), "--mount", mount, *arguments], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s,
                              env={**os.environ, "COLUMNS": columns, "TZ": "UTC"}, check=False)
        return done.returncode, done.stdout, done.stderr
    return as_user(uid, run) if uid is not None else run()


@pytest.fixture
def ctl(daemon):
    return lambda *arguments, **kwargs: flowctl(daemon.mount, *arguments, **kwargs)


@pytest.fixture
def spawn():
    """Starts flowctl; what is still running at the end of the test is killed."""
    running = []

    def start(mount, *arguments):
        process = subprocess.Popen([binary("flowctl"), "--mount", mount, *arguments], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env={**os.environ, "TZ": "UTC"})
        running.append(process)
        return process
    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def status(mount, **kwargs):
    code, out, err = flowctl(mount, "status", "--json", **kwargs)
    assert code == 0, err
    return json.loads(out)


def test_status_of_an_empty_tree_is_three_headings(ctl):
    code, out, _ = ctl("status")
    assert code == 0
    assert out.startswith("names (0)\n\nflows (0)\n\nusers (")


def test_status_shows_names_aliases_and_the_mode_of_dial(daemon, name, ctl):
    os.symlink(name.name, daemon.path("names", "alias"))
    os.chmod(name.dial, 0o622)
    sh(f"setfacl -m u:{STRANGER}:rw {name.dial}")
    code, out, _ = ctl("status")
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(
        (name.name, "alias"))}
    assert lines["alias"] == ["alias", "->", name.name, "root"]
    assert lines[name.name][1:] == ["root", "rw-rw--w-+", "0", "0/128", "0", "0", "0"]


def test_status_counts_who_waits_and_what_flows(daemon, name):
    waiting = [name.open_accept(os.O_RDWR | os.O_NONBLOCK) for _ in range(2)]
    dialled = name.open_dial()
    os.write(dialled, b"hello")
    shown = status(daemon.mount)
    entry, = [entry for entry in shown["names"] if entry["name"] == name.name]
    assert entry["stats"]["flows"] == 1
    assert entry["stats"]["flows_ever"] == 1
    states = sorted(flow["state"] for flow in shown["flows"])
    assert states == ["accept-pending", "allocated", "allocated"]
    up = [flow for flow in shown["flows"] if flow["state"] == "allocated"]
    assert {flow["peer"]["name"] for flow in up} == {name.name}
    assert sorted(flow["stats"]["messages_sent"] for flow in up) == [0, 1]
    assert sorted(flow["stats"]["bytes_sent"] for flow in up) == [0, 5]
    assert len(waiting) == 2
    lines = [line.split() for line in flowctl(daemon.mount, "status")[1].splitlines()]
    traffic = [words[5:] for words in lines if "allocated" in words]
    assert sorted(traffic) == [["0/1", "0/5"], ["1/0", "5/0"]]


def test_status_hides_what_is_not_the_callers_and_says_so(daemon, name):
    name.pair()
    shown = status(daemon.mount, uid=STRANGER)
    assert shown["flows"] == []
    assert shown["hidden"]["flows"] == 2
    assert shown["hidden"]["users"] >= 1
    code, out, _ = flowctl(daemon.mount, "status", uid=STRANGER)
    assert code == 0
    assert "flows (0; 2 of others, hidden)" in out


def test_status_shows_a_closed_name_with_its_owner_only(daemon, name):
    os.chmod(name.path, 0o700)
    shown = status(daemon.mount, uid=STRANGER)
    entry, = [entry for entry in shown["names"] if entry["name"] == name.name]
    assert entry == {"name": name.name, "owner": "root", "readable": False}
    assert "names (1; 1 closed to you)" in flowctl(daemon.mount, "status", uid=STRANGER)[1]


def test_status_shows_usage_beside_limits(daemon, name):
    entry, = [user for user in status(daemon.mount)["users"] if user["uid"] == 0]
    assert entry["user"] == "root"
    assert entry["usage"]["names"] == len(os.listdir(daemon.path("names")))
    assert entry["limits"]["names"] == "max"
    assert os.path.isdir(name.path)


def test_status_stays_within_the_terminal(daemon, ctl):
    long_name = daemon.path("names", "n" * 200)
    os.mkdir(long_name)
    _, out, _ = ctl("status", columns="80")
    assert max(map(len, out.splitlines())) <= 80
    assert "nnn~" in out


def test_status_of_no_tree_says_what_to_do(tmp_path):
    code, _, err = flowctl(str(tmp_path), "status")
    assert code == 1
    assert f"cannot read {tmp_path}/names: " in err
    assert "ENOENT" in err and "flowctl doctor" in err


def test_the_mount_comes_from_the_environment(daemon, name):
    out = sh(f"{binary('flowctl')} status --json", FLOWFS_MOUNT=daemon.mount).out
    assert name.name in [entry["name"] for entry in json.loads(out)["names"]]


def test_the_mount_may_stand_behind_the_command(daemon, name):
    out = sh(f"{binary('flowctl')} status --mount {daemon.mount}").out
    assert name.name in out


# --- id ------------------------------------------------------------------------------------------
def test_id_is_the_folder_of_the_shells_descriptor(daemon, name):
    name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    out = sh(f"""exec 3<>{name.dial}; id=$({binary('flowctl')} id 3) || exit 1
                 echo $id; cat {daemon.path('flows')}/$id/state
                 {binary('flowctl')} id 3 --json""").out.splitlines()
    assert int(out[0]) > 0
    assert out[1] == "allocated"
    assert json.loads(out[2]) == {"descriptor": 3, "flow": int(out[0])}


@pytest.mark.parametrize("redirection, symbol", [
    ("3</dev/null", "ENOTTY"), ("3<&-", "EBADF"), ("3<{version}", "not an end of a flow")])
def test_id_of_what_is_no_flow_says_so(daemon, redirection, symbol):
    done = sh(f"{binary('flowctl')} id 3 {redirection.format(version=daemon.path('version'))}",
              check=False)
    assert done.status == 1
    assert symbol in done.err and "descriptor 3" in done.err


def test_id_takes_only_a_number(ctl):
    code, out, err = ctl("id", "three")
    assert (code, out) == (2, "")
    assert "`three` is not the number of a descriptor, such as 3" in err
    assert ctl("id", "-1")[0] == 2
    assert ctl("id")[0] == 2


# --- watch ---------------------------------------------------------------------------------------
def test_watch_refuses_kinds_that_do_not_exist_and_lists_those_that_do(ctl):
    code, out, err = ctl("watch", "--kind", "flow-alocated")
    assert (code, out) == (2, "")
    for kind in ("name-created", "alias-removed", "flow-allocated", "flow-timed-out"):
        assert kind in err


def test_watch_knows_every_kind_of_the_manual(daemon, spawn):
    page = os.path.join(os.path.dirname(__file__), "..", "..", "man", "flowfs.7")
    with open(page, encoding="utf-8") as file:
        events = file.read().split(".Sh EVENTS")[1].split(".Sh ")[0].split("Kinds are")[1]
    kinds = [word for line in events.splitlines() if line.startswith(".Li ") for word in line.split()
             if re.fullmatch(r"(name|alias|flow|bus)-[a-z-]+", word)]
    assert len(kinds) >= 10
    watch = spawn(daemon.mount, "watch", "-n", "1", *(word for kind in kinds for word in ("--kind", kind)))
    wait_blocked(watch.pid, "read")


def test_watch_prints_what_happens_from_now_on(daemon, spawn):
    os.mkdir(daemon.path("names", "before"))
    watching = spawn(daemon.mount, "watch", "-n", "2")
    wait_blocked(watching.pid, "read")
    os.mkdir(daemon.path("names", "after"))
    os.rmdir(daemon.path("names", "after"))
    out, err = watching.communicate(timeout=10)
    assert watching.returncode == 0, err
    first, second = out.splitlines()
    assert "name created" in first and "names/after  uid 0" in first
    assert "name removed" in second
    assert first[:11] == time.strftime("%Y-%m-%d ", time.gmtime())


def test_watch_filters_by_kind_and_object(daemon, spawn):
    by_kind = spawn(daemon.mount, "watch", "--json", "-n", "1", "--kind", "alias-created",
                    "--kind", "name-removed")
    by_object = spawn(daemon.mount, "watch", "--json", "-n", "2", "--object", "*wanted")
    for process in (by_kind, by_object):
        wait_blocked(process.pid, "read")
    for name in ("other", "wanted"):
        os.mkdir(daemon.path("names", name))
    for name in ("wanted", "other"):
        os.rmdir(daemon.path("names", name))
    event = json.loads(by_kind.communicate(timeout=10)[0])
    assert (event["kind"], event["object"], event["uid"]) == ("name-removed", "names/wanted", 0)
    assert abs(event["time"] - time.time()) < 60
    events = [json.loads(line) for line in by_object.communicate(timeout=10)[0].splitlines()]
    assert [event["object"] for event in events] == ["names/wanted", "names/wanted"]


def test_watch_ends_with_the_daemon_and_says_why(fresh_daemon, spawn):
    daemon = fresh_daemon().start()
    watching = spawn(daemon.mount, "watch")
    wait_blocked(watching.pid, "read")
    daemon.stop()
    _, err = watching.communicate(timeout=10)
    assert watching.returncode == 1
    assert "start flowfsd again" in err


# --- doctor --------------------------------------------------------------------------------------
def findings(mount, **kwargs):
    code, out, err = flowctl(mount, "doctor", "--json", **kwargs)
    report = json.loads(out)
    assert err == ""
    assert code == (0 if report["well"] else 1)
    return {finding["what"]: finding for finding in report["findings"]}, report["well"]


def version(daemon):
    with open(daemon.path("version"), encoding="ascii") as file:
        return dict(line.split(" ", 1) for line in file.read().splitlines())


def test_doctor_finds_a_healthy_daemon(daemon):
    found, well = findings(daemon.mount)
    assert well, [finding for finding in found.values() if finding["verdict"] == "missing"]
    assert found["daemon"]["state"] == f"flowfs {version(daemon)['flowfs']} serves {daemon.mount}"
    assert f"pid {daemon.process.pid}, uid 0" in found["privileges"]["state"]
    assert found["kernel"]["state"] == os.uname().release


def test_doctor_repeats_what_the_daemon_says_it_uses(daemon):
    found, _ = findings(daemon.mount)
    said = version(daemon)
    assert (found["passthrough"]["verdict"] == "ok") == (said["passthrough"] == "yes")
    assert (found["futex"]["verdict"] == "ok") == (said["futex"] == "io_uring")
    for library in ("libfuse", "liburing"):
        assert found[library]["state"] == f"{said[library]} in the daemon"


def test_doctor_gives_a_remedy_for_whatever_is_not_good(daemon):
    found, _ = findings(daemon.mount, uid=STRANGER)
    for finding in found.values():
        assert (finding["verdict"] == "ok") == (finding["remedy"] == ""), finding


def test_doctor_reports_the_sysctls_as_they_are(daemon):
    found, _ = findings(daemon.mount)
    path = "/proc/sys/fs/fuse/max_pages_limit"
    if not os.path.exists(path):
        assert "917504" in found["mtu"]["state"]
        return
    with open(path, encoding="ascii") as file:
        limit = file.read().strip()
    assert re.search(rf"fs\.fuse\.max_pages_limit( is |=){limit}\b", found["mtu"]["state"])


def test_doctor_sees_that_nothing_is_mounted(tmp_path):
    found, well = findings(str(tmp_path))
    assert not well
    assert "nothing is mounted" in found["daemon"]["state"]


def test_doctor_sees_that_it_is_something_else():
    found, well = findings("/proc")
    assert not well
    assert "not flowfs" in found["daemon"]["remedy"]


def test_doctor_sees_a_dead_daemon(fresh_daemon):
    daemon = fresh_daemon().start()
    daemon.kill()
    found, well = findings(daemon.mount)
    assert not well
    assert "has gone" in found["daemon"]["state"]


def test_doctor_does_not_hang_with_the_daemon(fresh_daemon):
    daemon = fresh_daemon().start()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        child = Child(findings, daemon.mount)
        found, well = child.result(deadline_s=10)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert not well
    assert "does not answer" in found["daemon"]["state"]
    wait_for(lambda: findings(daemon.mount)[1], "a healthy daemon again")
    daemon.stop()
