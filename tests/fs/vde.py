# SPDX-License-Identifier: BSD-3-Clause
"""A VDE client, as the protocol has it, and processes that run the real ones."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess

import pytest
import sysc

MAGIC, VERSION, ANY_PORT = 0xfeedface, 3, 0
_numbers = itertools.count(1)


def folder_of(bus):
    """Where clients of this bus plug in."""
    return os.path.realpath(bus.file("vde"))


def request(path, magic=MAGIC, version=VERSION, kind=ANY_PORT, family=socket.AF_UNIX, description=b"test: of ours"):
    return struct.pack("=IIIH108s", magic, version, kind, family, path.encode()) + description


def own_path(folder="/tmp"):
    return f"{folder}/vde.{os.getpid()}-{next(_numbers)}"


class Client:
    """Asks at `ctl` of a folder. The data socket is bound where VDE clients bind theirs."""

    def __init__(self, folder, mode=0o700, data_folder="/tmp"):
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = own_path(data_folder)
        self.data.bind(self.path)
        os.chmod(self.path, mode)
        self.control.connect(os.path.join(folder, "ctl"))

    def ask(self, what=None):
        """The path of the switch's data socket, or None where it hangs up."""
        with contextlib.suppress(BrokenPipeError):
            self.control.sendall(request(self.path) if what is None else what)
        answer = b""
        while len(answer) < 110:
            try:
                part = self.control.recv(110 - len(answer))
            except ConnectionResetError:
                part = b""
            if not part:
                assert answer == b""
                return None
            answer += part
        family, path = struct.unpack("=H108s", answer)
        assert family == socket.AF_UNIX
        return path.rstrip(b"\0").decode()

    def plug(self):
        path = self.ask()
        assert path is not None, "the switch hung up"
        self.data.connect(path)
        os.unlink(self.path)
        return self

    def close(self):
        self.control.close()
        self.data.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


@contextlib.contextmanager
def client(folder, **options):
    made = Client(folder, **options)
    try:
        yield made
    finally:
        made.close()


def need(program):
    path = shutil.which(program) or shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@contextlib.contextmanager
def running(*command):
    """A program, ended with all that it started: dpipe makes a process group of its own, and wants to."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT,
                               preexec_fn=lambda: sysc.set_pdeathsig(signal.SIGKILL))
    try:
        yield process
        assert process.poll() is None, process.stdout.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdout.close()
