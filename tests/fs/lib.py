# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs of the build under test, through its Python module."""

import errno
import itertools
import os
import sys

import pytest
from fixtures import need_mapping
from harness import binary, is_sanitized
from sysc import raises_errno

LIBRARY = os.path.join(binary("../lib"), "libflowfs.so.0")
ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
FILE, NO_POOL = 1, 8
MODES = [(0, 0), (0, FILE), (FILE, 0), (FILE, FILE)]
seeds = itertools.count(int(os.environ.get("FLOWFS_SEED", "1")))

if not is_sanitized():
    os.environ["FLOWFS_LIBRARY"] = LIBRARY
    sys.path.insert(0, os.path.join(ROOT, "python"))
    import flowfs

in_python = pytest.mark.skipif(
    is_sanitized(), reason="this interpreter cannot load a library built with a sanitizer")


@pytest.fixture
def can_map(daemon):
    need_mapping(daemon)


@pytest.fixture(params=MODES, ids=lambda modes: "-".join("file" if m else "mapped" for m in modes))
def flow(request, can_map, name):  # pylint: disable=redefined-outer-name
    """(client, server), each end in either mode."""
    if is_sanitized():
        pytest.skip("this interpreter cannot load a library built with a sanitizer")
    client, server = pair(name, *request.param)
    yield client, server
    client.close()
    server.close()


def echo(name):
    """Accepts a flow and sends back all that comes, until it ends."""
    with flowfs.accept(name.name, name.daemon.mount, timeout=20) as accepted:
        while message := accepted.recv(timeout=20):
            accepted.send(message, timeout=20)


def pair(name, client=0, server=0):
    """Both ends of a flow in this process: (client, server)."""
    mount = name.daemon.mount
    serving = flowfs.accept(name.name, mount, server, timeout=0)
    dialled = flowfs.dial(name.name, mount, client, timeout=10)
    with raises_errno(errno.EAGAIN):
        serving.recv(timeout=0)  # settles the server's mode
    return dialled, serving
