# SPDX-License-Identifier: BSD-3-Clause
"""`flowfsd --user` of an ordinary user."""

import os
import pathlib
import pwd
import stat
import subprocess
import tempfile

import pytest
from harness import binary, is_mounted
from procs import wait_for

USER = pwd.getpwnam("nobody").pw_uid  # fusermount3 wants one that has a name


class Rootless:
    """`flowfsd --user` of an ordinary user, with directories of its own."""

    def __init__(self, folder):
        self.runtime, self.home = folder / "runtime", folder / "home"
        for path in (self.runtime, self.home):
            path.mkdir(mode=0o700)
            os.chown(path, USER, USER)
        self.mount = str(self.runtime / "flowfs")
        self.log = folder / "log"
        self.process = None

    def command(self, *arguments):
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env", "-i",
                "PATH=/usr/bin:/bin:/usr/sbin:/sbin", f"HOME={self.home}",
                f"XDG_RUNTIME_DIR={self.runtime}", binary("flowfsd"), *arguments]

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command("--user", "--foreground"), stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: self.process.poll() is not None or self.said("ready at"), "ready")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def said(self, text):
        return text in self.log.read_text()

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        while is_mounted(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=True)


@pytest.fixture
def rootless():
    if not os.access("/usr/bin/fusermount3", os.X_OK):
        pytest.skip("fusermount3 is not installed")
    mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)  # as udev makes it, where there is udev
    # Not below pytest's own folder, which every other run of pytest keeps to root again.
    with tempfile.TemporaryDirectory(prefix="flowfs-user-") as folder:
        os.chmod(folder, 0o755)
        made = Rootless(pathlib.Path(folder))
        yield made
        made.clean()
    os.chmod("/dev/fuse", mode)
