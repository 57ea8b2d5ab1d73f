# SPDX-License-Identifier: BSD-3-Clause
"""scripts/down where no daemon runs: it says so, and leaves the folder as it was."""

import os
import pathlib
import subprocess

import pytest

DOWN = pathlib.Path(__file__).resolve().parent.parent / "down"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root ends the daemon")


def down(mount, *arguments):
    done = subprocess.run([DOWN, *arguments], capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, "FLOWFS_MOUNT": str(mount)})
    return done.returncode, done.stdout, done.stderr


def test_it_says_that_nothing_runs(tmp_path):
    mount = tmp_path / "mnt"
    mount.mkdir()
    assert down(mount) == (0, f"down: no flowfsd is running at {mount}\n", "")
    assert list(tmp_path.iterdir()) == [mount]


def test_it_does_not_need_the_folder(tmp_path):
    mount = tmp_path / "mnt"
    assert down(mount)[0] == 0
    assert not list(tmp_path.iterdir())


def test_a_lock_of_a_process_that_is_no_daemon_is_not_believed(tmp_path):
    """The pid may be another program's by now: this test itself must survive."""
    mount = tmp_path / "mnt"
    (tmp_path / "mnt.lock").write_text(f"{os.getpid()}\n")
    assert down(mount) == (0, f"down: no flowfsd is running at {mount}\n", "")


def test_a_mount_that_a_dead_daemon_left_is_detached(tmp_path):
    mount = tmp_path / "mnt"
    mount.mkdir()
    (tmp_path / "mnt.lock").write_text("")
    subprocess.run(["mount", "-t", "tmpfs", "none", mount], check=True)
    try:
        status, said, _ = down(mount)
        assert (status, "detached the mount" in said) == (0, True)
        assert not os.path.ismount(mount)
        assert list(tmp_path.iterdir()) == [mount]
    finally:
        subprocess.run(["umount", "-l", mount], check=False, stderr=subprocess.DEVNULL)


def test_an_argument_it_does_not_know_changes_nothing(tmp_path):
    status, said, error = down(tmp_path / "mnt", "now")
    assert (status, said) == (1, "")
    assert "unknown argument now" in error
