# SPDX-License-Identifier: BSD-3-Clause
"""flowctl in the background, for the tests of its servers and of what measures them."""

import json
import subprocess

import pytest
from harness import binary


class Run:
    """flowctl in the background."""

    def __init__(self, mount, *arguments):
        self.process = subprocess.Popen([binary("flowctl"), "--mount", mount, *arguments],
                                        text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def line(self):
        """The next line of output; the tests' deadline bounds the wait."""
        return self.process.stdout.readline()

    def end(self, number=None, timeout_s=10):
        """Sends a signal, or waits for its own end: status, the rest of out, err."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err


@pytest.fixture
def run(daemon):
    running = []

    def start(*arguments):
        running.append(Run(daemon.mount, *arguments))
        return running[-1]
    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.fixture
def serve(run, name):
    """Starts `flowctl serve` on the test's name and waits until it says that it serves."""
    def start(*arguments):
        server = run("serve", name.name, *arguments)
        assert server.line() != ""
        return server
    return start


def ping(daemon, *arguments):
    one = Run(daemon.mount, "ping", *arguments)
    return one.end(timeout_s=30)


def summary(out):
    return json.loads(out.splitlines()[-1])
