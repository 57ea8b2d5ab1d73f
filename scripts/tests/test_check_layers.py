# SPDX-License-Identifier: BSD-3-Clause
"""The layer check finds each kind of breach in a tree made for it, and passes the trees it should."""

import pathlib
import subprocess
import sys

import pytest

CHECK = pathlib.Path(__file__).resolve().parent.parent / "check-layers"


def run(tmp_path, files):
    base = {"src/base/fd.hpp": "#include <cerrno>\n", "include/flowfs/wire.h": "#include <stdint.h>\n"}
    for name, text in (base | files).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = subprocess.run([sys.executable, CHECK, tmp_path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"src/pool/lane.cpp": '#include "base/fd.hpp"\n#include "flowfs/wire.h"\n#include "pool/lane.hpp"\n'},
        {"src/flow/channel.hpp": '#include "pool/lane.hpp"\n'},
        {"src/daemon/main.cpp": '#include "fs/server.hpp"\n#include "registry/registry.hpp"\n'},
        {"src/fs/server.cpp": "#include <fuse3/fuse_lowlevel.h>\n#include <fuse_lowlevel.h>\n"},
        {"src/base/loop.cpp": "#include <liburing.h>\n"},
        {"src/auth/aead.cpp": "#include <openssl/evp.h>\n"},
        {"src/registry/names.cpp": "#include <linux/stat.h>\n#include <fusion.hpp>\n"},
        {"src/cli/CMakeLists.txt": "target_link_libraries(flowctl flowfs_base)  # never flowfs_fs\n"},
        {"tests/unit/anything.cpp": '#include "fs/server.hpp"\n#include <liburing.h>\n'},
    ],
)
def test_accepts(tmp_path, files):
    code, output = run(tmp_path, files)
    assert (code, "against the arrows" in output) == (0, True), output


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("src/base/fd.cpp", '#include "pool/lane.hpp"'),
        ("src/base/fd.cpp", "#include <registry/registry.hpp>"),
        ("src/pool/lane.cpp", '#include "../flow/channel.hpp"'),
        ("src/pool/lane.cpp", '#include "bus/policy.hpp"'),
        ("src/registry/names.cpp", '#include "fs/server.hpp"'),
        ("src/registry/names.cpp", '  #  include "pool/lane.hpp"'),
        ("src/flow/channel.cpp", '#include "registry/types.hpp"'),
        ("src/fs/server.cpp", '#include "daemon/config.hpp"'),
        ("src/lib/dial.cpp", '#include "registry/types.hpp"'),
        ("src/cli/main.cpp", '#include "pool/lane.hpp"'),
        ("src/daemon/main.cpp", "#include <fuse_lowlevel.h>"),
        ("src/cli/doctor.cpp", "#include <fuse3/fuse_common.h>"),
        ("src/fs/server.cpp", "#include <liburing.h>"),
        ("src/daemon/main.cpp", "#include <liburing/io_uring.h>"),
        ("src/lib/dial.cpp", "#include <openssl/evp.h>"),
        ("include/flowfs/flowfs.h", '#include "base/fd.hpp"'),
        ("src/pool/CMakeLists.txt", "target_link_libraries(flowfs_pool PUBLIC flowfs_flow)"),
        ("src/misc/thing.cpp", "#include <cerrno>"),
    ],
)
def test_rejects(tmp_path, file, line):
    code, output = run(tmp_path, {"src/flow/channel.hpp": "", file: f"#include <cerrno>\n{line}\n"})
    assert code == 1, output
    assert output.startswith(f"{file}:{1 if 'misc' in file else 2}: "), output


def test_an_empty_tree_is_no_success(tmp_path):
    done = subprocess.run([sys.executable, CHECK, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
