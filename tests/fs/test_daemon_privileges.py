# SPDX-License-Identifier: BSD-3-Clause
"""What the daemon process may do, what it holds, and how it serves without root."""

import contextlib
import errno
import mmap
import os
import resource
import signal
import stat
import subprocess

import pytest
from harness import is_mounted, is_sanitized, read_text
from procs import Child, as_user, sh, wait_for
from rootless import USER, rootless  # pylint: disable=unused-import
from sysc import raises_errno
from wire import flow_id

STRANGER = 61002
KEPT = "0000000000203000"  # CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW
PERMITTED = "0000000000203002"  # and, in reserve, CAP_DAC_OVERRIDE
NONE = "0000000000000000"
CORE_PATTERN = "/proc/sys/kernel/core_pattern"


def status_of(task):
    with open(f"{task}/status", encoding="ascii") as file:
        return {key: value.strip() for key, value in (line.split(":", 1) for line in file)}


# --- as root -------------------------------------------------------------------------------------
def test_every_thread_has_three_capabilities_and_can_gain_none(fresh_daemon):
    server = fresh_daemon().start()
    wait_for(lambda: "ready" in server.log(), "ready")
    server.process.send_signal(signal.SIGHUP)  # which starts a thread
    wait_for(lambda: "reloaded" in server.log(), "reload")
    tasks = f"/proc/{server.process.pid}/task"
    assert len(os.listdir(tasks)) > 1
    for task in os.listdir(tasks):
        status = status_of(f"{tasks}/{task}")
        assert {key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
            "CapInh": NONE, "CapPrm": PERMITTED, "CapEff": KEPT, "CapBnd": KEPT, "CapAmb": NONE}
        assert status["NoNewPrivs"] == "1"
        assert status["Uid"].split() == ["0"] * 4
    server.stop()


def test_the_process_is_shed_of_what_it_was_started_with(fresh_daemon):
    readable, writable = os.pipe()
    os.set_inheritable(writable, True)
    server = fresh_daemon(wrapper=("bash", "-c", 'exec 42>/dev/null; umask 0; exec "$@"', "-"))
    server.start()
    process = f"/proc/{server.process.pid}"
    assert os.readlink(f"{process}/cwd") == "/"
    assert os.readlink(f"{process}/fd/0") == "/dev/null"
    assert status_of(process)["Umask"] == "0077"
    held = {os.readlink(f"{process}/fd/{fd}") for fd in os.listdir(f"{process}/fd") if fd not in "012"}
    assert not any(name.startswith(("/dev/null", "pipe:")) for name in held), held
    os.close(readable), os.close(writable)
    server.stop()


def test_the_limit_of_descriptors_is_raised(fresh_daemon):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    server = fresh_daemon(limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
    server.start()
    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    server.stop()


@pytest.fixture
def core_file(tmp_path):
    """Where the kernel writes core dumps for the time of the test."""
    before = read_text(CORE_PATTERN)
    path = tmp_path / "core"
    try:
        with open(CORE_PATTERN, "w", encoding="ascii") as file:
            file.write(f"{path}\n")
    except OSError as error:
        pytest.skip(f"{CORE_PATTERN} cannot be set: {error}")
    yield path
    with open(CORE_PATTERN, "w", encoding="ascii") as file:
        file.write(before + "\n")


def test_a_core_dump_is_short_and_without_the_memory_of_clients(fresh_daemon, core_file):
    if is_sanitized():
        pytest.skip("a sanitizer's shadow memory is part of the dump")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    server = fresh_daemon(limits=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited)).start()
    name = server.name("n")
    os.mkdir(name.path)
    secret = b"known to the ends of this flow alone " * 100
    client, serving = name.pair()
    tx = os.open(server.path("flows", str(flow_id(client)), "tx"), os.O_RDWR)
    with mmap.mmap(tx, os.fstat(tx).st_size) as segment:
        segment[4096:4096 + len(secret)] = secret
        server.process.send_signal(signal.SIGABRT)
        assert server.process.wait(30) == -signal.SIGABRT
    for fd in (tx, client, serving):
        with contextlib.suppress(OSError):  # ENOTCONN: there is nobody to tell
            os.close(fd)
    dump = core_file.read_bytes()
    assert dump.startswith(b"\x7fELF")
    assert len(dump) < 48 << 20, len(dump)
    assert secret[:37] not in dump
    assert stat.S_IMODE(core_file.stat().st_mode) == 0o600


# --- without root --------------------------------------------------------------------------------
def exchange(mount):
    """A name, a flow and a message, as one user does it in a shell."""
    path = os.path.join(mount, "names", "hello")
    os.mkdir(path)
    reader = subprocess.Popen(["cat", os.path.join(path, "accept")], stdout=subprocess.PIPE)
    with open(os.path.join(path, "dial"), "wb", buffering=0) as dial:
        dial.write(b"hi")
    return reader.communicate(timeout=10)[0], os.stat(path).st_uid


def test_a_user_serves_without_root(rootless):
    rootless.start()
    status = status_of(f"/proc/{rootless.process.pid}")
    assert status["Uid"].split() == [str(USER)] * 4
    assert (status["CapPrm"], status["CapEff"]) == (NONE, NONE)
    assert as_user(USER, exchange, rootless.mount) == (b"hi", USER)

    rootless.process.terminate()
    assert rootless.process.wait(10) == 0, rootless.log.read_text()
    assert not is_mounted(rootless.mount)
    assert os.listdir(rootless.runtime) == []


def test_others_stay_outside_unless_fuse_conf_lets_them_in(rootless):
    rootless.start()
    allowed = sh("grep -qx user_allow_other /etc/fuse.conf", check=False).status == 0
    os.chmod(rootless.runtime, 0o755)

    def look():
        return os.listdir(rootless.mount)
    if allowed:
        assert "names" in as_user(STRANGER, look)
    else:
        with raises_errno(errno.EACCES):
            as_user(STRANGER, look)
    rootless.process.terminate()
    assert rootless.process.wait(10) == 0


def test_the_stale_mount_of_a_user_is_detached(rootless):
    rootless.start()
    rootless.process.kill()
    rootless.process.wait()
    assert is_mounted(rootless.mount)
    rootless.log.unlink()
    rootless.start()
    assert rootless.said("detached the mount of a dead daemon")
    assert as_user(USER, exchange, rootless.mount) == (b"hi", USER)
    rootless.process.terminate()
    assert rootless.process.wait(10) == 0
    assert os.listdir(rootless.runtime) == []


def test_a_living_daemon_of_the_user_is_refused(rootless):
    rootless.start()
    second = subprocess.run(rootless.command("--user"), capture_output=True, text=True, timeout=20,
                            check=False)
    assert second.returncode == 1
    assert f"another flowfsd (pid {rootless.process.pid})" in second.stderr
    assert as_user(USER, read_text, rootless.mount + "/version").startswith("flowfs ")


def test_a_user_cannot_serve_the_whole_system(rootless):
    told = subprocess.run(rootless.command("--mount", rootless.mount), capture_output=True, text=True,
                          timeout=20, check=False)
    assert told.returncode == 1 and "--user runs without root" in told.stderr


def test_without_a_runtime_directory_a_mount_must_be_named(rootless):
    command = [word for word in rootless.command("--user") if not word.startswith("XDG_RUNTIME_DIR=")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert told.returncode == 1 and "XDG_RUNTIME_DIR is not set" in told.stderr


def test_a_lock_that_another_user_made_is_refused(fresh_daemon):
    server = fresh_daemon()
    os.chmod(server.base, 0o777)
    Child(lambda: os.close(os.open(server.mount + ".lock", os.O_RDWR | os.O_CREAT, 0o666)),
          uid=STRANGER).result()
    server.spawn()
    assert server.process.wait(10) == 1
    assert f"belongs to uid {STRANGER}, not to this daemon" in server.log()
    assert not is_mounted(server.mount)
