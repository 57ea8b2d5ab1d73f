# SPDX-License-Identifier: BSD-3-Clause
"""Programs that run with libflowfs-ipn.so preloaded."""

import os
import re
import subprocess
import sys
import textwrap

import pytest
from buses import Bus
from harness import binary

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.abspath(os.path.join(binary("../lib"), "libflowfs-ipn.so.0"))
PRELUDE = "import errno, os, select, signal\nfrom ipn_calls import *\n"


def environment(daemon, **more):
    linked = subprocess.run(["ldd", LIBRARY], capture_output=True, text=True, check=True).stdout
    # The runtime of a sanitizer must be there before what needs it; Python's own leaks are not ours.
    runtime = re.findall(r"=> (\S*lib(?:asan|ubsan|tsan)\S*)", linked)
    return {**os.environ, "FLOWFS_MOUNT": daemon.mount, "LD_PRELOAD": ":".join([*runtime, LIBRARY]),
            "PYTHONPATH": HERE, "ASAN_OPTIONS": "detect_leaks=0", **more}


def identity(uid):
    """What Popen is told to run a program as `uid`, in no other group than its own."""
    return {"umask": 0o022, **({} if uid is None else {"user": uid, "group": uid, "extra_groups": []})}


def script(text):
    """The command for some lines of Python that use ipn_calls."""
    return [sys.executable, "-B", "-c", PRELUDE + textwrap.dedent(text)]


@pytest.fixture
def ipn(daemon):
    """ipn(lines, uid=..., FLOWFS_IPN_BUS=...): what they print, line by line."""
    def run(text, uid=None, **more):
        done = subprocess.run(script(text), env=environment(daemon, **more), capture_output=True,
                              text=True, timeout=30, check=False, **identity(uid))
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()
    return run


@pytest.fixture
def start(daemon):
    """Starts a program with the library preloaded; it is gone at the end."""
    started = []

    def run(*command, uid=None, **more):
        started.append(subprocess.Popen(command, env=environment(daemon, **more), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, **identity(uid)))
        return started[-1]
    yield run
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()


@pytest.fixture
def bus(daemon, request):
    """A bus's name that is this test's; removed afterwards."""
    made = Bus(daemon, re.sub(r"\W", "-", request.node.name)[:60])
    yield made
    if os.path.isdir(made.path):
        made.wait_members(0)
        os.rmdir(made.path)
