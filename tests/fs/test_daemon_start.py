# SPDX-License-Identifier: BSD-3-Clause
"""The command line of flowfsd, --check, and the start in the background."""

import os
import re
import signal
import subprocess

import pytest
from harness import binary, is_mounted, read_text
from procs import state_of, wait_for


def flowfsd(*arguments, **options):
    return subprocess.run([binary("flowfsd"), *arguments], capture_output=True, text=True, timeout=30,
                          check=False, **options)


@pytest.fixture
def place(tmp_path):
    """A configuration file and a mount point; whatever is started there is ended."""
    made = Place(tmp_path)
    yield made
    made.end()


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.config, self.mount = str(folder / "flowfsd.toml"), str(folder / "tree")
        self.write("")

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def arguments(self):
        return "--config", self.config, "--mount", self.mount

    def pid(self):
        with open(self.mount + ".lock", encoding="ascii") as file:
            return int(file.readline())

    def end(self):
        if os.path.exists(self.mount + ".lock"):
            pid = self.pid()
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: state_of(pid) in ("", "Z"), "end of the daemon")  # init reaps it
        assert not is_mounted(self.mount)
        assert not os.path.exists(self.mount)


# --- usage ---------------------------------------------------------------------------------------
def test_help_and_version():
    told = flowfsd("--help")
    assert told.returncode == 0 and "--config FILE" in told.stdout and told.stderr == ""
    told = flowfsd("--version")
    assert told.returncode == 0 and re.fullmatch(r"flowfsd \d+\.\d+\.\d+\n", told.stdout)


@pytest.mark.parametrize("arguments", [["--frobnicate"], ["word"], ["--mount"], ["--log-level", "loud"]])
def test_bad_usage_is_2(arguments):
    told = flowfsd(*arguments)
    assert told.returncode == 2 and told.stderr and told.stdout == ""


# --- check ---------------------------------------------------------------------------------------
def test_check_says_ok(place):
    place.write("[limits]\nnames = 'max'\n[[name]]\nname = 'log'\nuser = 'root'\n".replace("'", '"'))
    told = flowfsd("--check", "--config", place.config)
    assert (told.returncode, told.stdout, told.stderr) == (0, "ok\n", "")


def test_check_tells_every_problem_with_its_line(place):
    place.write("[limits]\n\nnames = 'many'\n[daemon]\nvolume = 11\n"
                "[[name]]\nname = 'a b'\nuser = 'no-such-user'\n")
    told = flowfsd("--check", "--config", place.config)
    assert told.returncode == 1
    lines = told.stdout.splitlines()
    assert lines[0] == (f"{place.config}:3: limits.names: 'many' is not a number; "
                        'allowed: 0 to 1000000 or "max"')
    assert lines[1] == (f"{place.config}:5: daemon.volume: unknown key; "
                        "allowed here: mount, log_level, group, hot_ring, longest_message, direct, "
                        "passthrough, security")
    assert lines[2].startswith(f"{place.config}:7: name.name: 'a b' is not allowed")
    assert lines[3].startswith(f"{place.config}:8: name.user: 'no-such-user' is not allowed")
    assert len(lines) == 4


def test_check_of_a_file_that_is_not_there(place):
    told = flowfsd("--check", "--config", place.config + ".missing")
    assert told.returncode == 1 and "No such file" in told.stdout


def test_check_reads_a_relative_path_and_the_users_own_file(place):
    place.write("[daemon]\nlog_level = 3\n")
    told = flowfsd("--check", "--config", "flowfsd.toml", cwd=place.folder)
    assert told.returncode == 1 and "flowfsd.toml:2: daemon.log_level" in told.stdout
    os.mkdir(place.folder / "flowfs")
    os.rename(place.config, place.folder / "flowfs" / "flowfsd.toml")
    told = flowfsd("--check", "--user", env={**os.environ, "XDG_CONFIG_HOME": str(place.folder)})
    assert told.returncode == 1 and "flowfs/flowfsd.toml:2: daemon.log_level" in told.stdout


def test_check_does_not_start_anything(place):
    assert flowfsd("--check", *place.arguments()).returncode == 0
    assert not os.path.exists(place.mount)


# --- background ----------------------------------------------------------------------------------
def test_the_starter_returns_when_the_tree_serves(place):
    # capture_output waits for the end of both pipes: a daemon that kept them would hang this.
    told = flowfsd(*place.arguments())
    assert told.returncode == 0, told.stderr
    assert f"flowfsd: ready at {place.mount}\n" in told.stderr
    assert told.stdout == ""
    assert read_text(os.path.join(place.mount, "version")).startswith("flowfs ")
    pid = place.pid()
    assert os.getsid(pid) == pid, "a session of its own"
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    assert status["PPid"].strip() != str(os.getpid())


def test_a_log_file_is_kept(place):
    with open(place.folder / "log", "w+b") as log:
        subprocess.run([binary("flowfsd"), *place.arguments()], stderr=log, timeout=30, check=True)
        os.kill(place.pid(), signal.SIGHUP)
        wait_for(lambda: b"reloaded the configuration" in (place.folder / "log").read_bytes(),
                 "a line after the start")


def test_a_failed_start_is_1_with_the_reason(place):
    assert flowfsd(*place.arguments()).returncode == 0
    told = flowfsd(*place.arguments())
    assert told.returncode == 1
    assert f"another flowfsd (pid {place.pid()}) serves this mount point" in told.stderr

    told = flowfsd("--config", place.config, "--mount", str(place.folder / "missing" / "tree"))
    assert told.returncode == 1 and "No such file or directory" in told.stderr


def test_a_bad_configuration_is_told_by_the_starter(place):
    place.write("[defaults]\nmtu = -1\nbacklog = 'x'\n")
    told = flowfsd(*place.arguments())
    assert told.returncode == 1
    assert f"{place.config}:2: defaults.mtu" in told.stderr
    assert f"{place.config}:3: defaults.backlog" in told.stderr
    assert not os.path.exists(place.mount)


def test_relative_paths_mean_where_it_was_started(place):
    told = flowfsd("--config", "flowfsd.toml", "--mount", "tree", cwd=place.folder)
    assert told.returncode == 0, told.stderr
    assert is_mounted(place.mount)


def test_the_configured_mount_is_used_where_no_option_says_otherwise(place):
    place.write(f'[daemon]\nmount = "{place.mount}"\n')
    told = flowfsd("--config", place.config)
    assert told.returncode == 0, told.stderr
    assert is_mounted(place.mount)


def test_a_missing_group_is_noted(place):
    place.write('[daemon]\ngroup = "no-such-group"\n')
    told = flowfsd(*place.arguments())
    assert told.returncode == 0
    assert "group=no-such-group" in told.stderr


def test_a_mount_inside_a_link_is_found_by_its_real_path(place):
    os.mkdir(place.folder / "real")
    os.symlink("real", place.folder / "link")
    link = str(place.folder / "link" / "tree")
    told = flowfsd("--config", place.config, "--mount", link)
    assert told.returncode == 0, told.stderr
    real = str(place.folder / "real" / "tree")
    assert is_mounted(real)
    told = flowfsd("--config", place.config, "--mount", real)
    assert told.returncode == 1 and "another flowfsd" in told.stderr
    place.mount = real
