# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs as it is installed: programs are built against it with pkg-config and with CMake."""

import os
import shlex
import subprocess

import pytest
from harness import close, is_sanitized
from lib import ROOT, can_map  # pylint: disable=unused-import

pytestmark = pytest.mark.skipif(
    is_sanitized(), reason="programs outside this tree do not link the sanitizer that the library wants")

BUILD = os.path.dirname(os.environ["FLOWFS_BIN"])
CMAKE_PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(outside LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(flowfs 0.1 REQUIRED)
add_executable(echo_server "%(examples)s/echo_server.cpp")
add_executable(file_copy "%(examples)s/file_copy.c")
target_link_libraries(echo_server PRIVATE flowfs::flowfs)
target_link_libraries(file_copy PRIVATE flowfs::flowfs)
"""


def run(*command, **environment):
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def find(folder, name):
    found = [os.path.join(path, name) for path, _, files in os.walk(folder) if name in files]
    assert len(found) == 1, f"{name} below {folder}: {found}"
    return found[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Everything, below a folder that stands for /."""
    root = str(tmp_path_factory.mktemp("root"))
    run("cmake", "--install", BUILD, "--prefix", "/opt/flowfs", DESTDIR=root)
    return root


@pytest.fixture(scope="module", params=["pkg-config", "cmake"])
def built(request, installed, tmp_path_factory):
    """A folder with examples built against it."""
    folder = str(tmp_path_factory.mktemp("outside"))
    examples = os.path.abspath(os.path.join(ROOT, "examples"))
    if request.param == "cmake":
        with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(CMAKE_PROJECT % {"examples": examples})
        run("cmake", "-S", folder, "-B", folder,
            f"-DCMAKE_PREFIX_PATH={os.path.join(installed, 'opt/flowfs')}")
        run("cmake", "--build", folder)
    else:
        packages = os.path.dirname(find(installed, "libflowfs.pc"))
        flags = shlex.split(run("pkg-config", "--cflags", "--libs", "libflowfs",
                                PKG_CONFIG_PATH=packages))
        for compiler, source in ((("c++", "-std=c++20"), "echo_server.cpp"), (("cc",), "file_copy.c")):
            run(*compiler, os.path.join(examples, source), "-Wall", "-Wextra", "-Werror", *flags, "-o",
                os.path.join(folder, source.split(".", maxsplit=1)[0]))
    return folder


def libraries(installed):
    return {"LD_LIBRARY_PATH": os.path.dirname(find(installed, "libflowfs.so.0"))}


@pytest.mark.deadline(120)
def test_a_program_in_cxx(can_map, installed, built, daemon, name):
    server = subprocess.Popen([os.path.join(built, "echo_server"), name.name, daemon.mount],
                              env={**os.environ, **libraries(installed)})
    client = name.open_dial()
    os.write(client, b"from outside")
    assert os.read(client, 100) == b"from outside"
    close(client)
    assert server.wait(10) == 0


@pytest.mark.deadline(120)
def test_a_program_in_c(can_map, installed, built, daemon, name):
    receiver = subprocess.Popen([os.path.join(built, "file_copy"), "receive", name.name, daemon.mount],
                                env={**os.environ, **libraries(installed)}, stdout=subprocess.PIPE)
    client = name.open_dial()
    os.write(client, b"contents")
    close(client)
    assert receiver.communicate(timeout=10)[0] == b"contents"


@pytest.mark.deadline(120)
def test_the_python_module(can_map, installed, daemon, name):
    module = os.path.dirname(find(installed, "flowfs.py"))
    environment = {**libraries(installed), "PYTHONPATH": module}
    environment.update(FLOWFS_LIBRARY="libflowfs.so.0", FLOWFS_MOUNT=daemon.mount)
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    assert run("/usr/bin/python3", "-B", "-c",
               f"import flowfs; flow = flowfs.dial('{name.name}'); flow.send(b'hi'); print(flow.is_mapped)",
               **environment) == "True\n"
    assert os.read(server, 100) == b"hi"
    close(server)
