# SPDX-License-Identifier: BSD-3-Clause
"""What scripts/setup would build, told from what it says, on a machine that is pretended: its package
tools are those of the test, and nothing is installed or fetched."""

import os
import pathlib
import shutil
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent

# pkg-config: of the machine the versions in $MACHINE, of build/deps those in its stamp.
PKG_CONFIG = """#!/bin/bash
least=${1#--atleast-version=} library=$2
[ "$library" != libcrypto ] || library=openssl
if [ -n "${PKG_CONFIG_LIBDIR:-}" ]; then found=$(sed -n "s/^$library //p" "$PKG_CONFIG_LIBDIR/../../stamp" 2>/dev/null)
else found=$(tr , '\\n' <<<"$MACHINE" | sed -n "s/^$library=//p"); fi
[ -n "$found" ] && dpkg --compare-versions "$found" ge "$least"
"""
TOOLS = {
    "pkg-config": PKG_CONFIG,
    "dpkg-query": "#!/bin/sh\nprintf installed\n",
    "getent": "#!/bin/sh\n",
    "apt-get": """#!/bin/sh
case "$*" in
  *indextargets*) . /etc/os-release
    echo "$ID|$VERSION_CODENAME|main|http://archive.invalid/|/dev/null:1" ;;
  *source*) echo "no such host"; exit 1 ;;
esac
""",
    "apt-cache": "#!/bin/sh\necho 'Version: 9.9'\n",
}
NEW = "fuse3=3.17.4,liburing=2.9"


@pytest.fixture
def setup(tmp_path):
    """A run of the script in a checkout of its own: status, standard output, standard error."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    (tmp_path / "tools").mkdir()
    for tool, text in TOOLS.items():
        (tmp_path / "tools" / tool).write_text(text)
        (tmp_path / "tools" / tool).chmod(0o755)

    def run(machine, *arguments, stamp=""):
        (tmp_path / "build" / "deps" / "lib" / "pkgconfig").mkdir(parents=True, exist_ok=True)
        (tmp_path / "build" / "deps" / "stamp").write_text(stamp)
        done = subprocess.run(
            [tmp_path / "scripts" / "setup", *arguments], capture_output=True, text=True,
            check=False, timeout=60,
            env={**os.environ, "PATH": f"{tmp_path}/tools:{os.environ['PATH']}",
                 "MACHINE": machine, "FLOWFS_SOURCE_SUITES": "next"})
        assert not list((tmp_path / "build").glob(".deps.*"))
        return done.returncode, done.stdout, done.stderr
    return run


def test_nothing_is_done_where_nothing_is_missing(setup):
    assert setup(f"{NEW},openssl=3.0.19") == (0, "setup: everything is in place\n", "")
    assert setup(f"{NEW},openssl=3.5.0", "--with-openssl") == (
        0, "setup: everything is in place\n", "")


@pytest.mark.parametrize("machine, arguments, fetched", [
    (f"{NEW},openssl=3.0.19", ["--with-openssl"], "openssl"),
    ("fuse3=3.14,liburing=2.3,openssl=3.0.19", ["--with-openssl"], "fuse3 liburing openssl"),
    ("fuse3=3.14,liburing=2.3,openssl=3.0.19", [], "fuse3 liburing")])
def test_what_is_too_old_is_fetched(setup, machine, arguments, fetched):
    status, said, error = setup(machine, *arguments)
    assert status == 1
    assert said == (f"setup: reading the source lists of next\n"
                    f"setup: fetching the sources of {fetched}\n")
    assert "no such host" in error


def test_an_openssl_that_was_asked_for_once_is_built_with_the_others_again(setup):
    """They are replaced together, and without it what was built would fall back to the old one."""
    built = "recipe 1\nfuse3 3.17.4\nliburing 2.9\nopenssl 3.5.4\n"
    machine = "fuse3=3.14,liburing=2.3,openssl=3.0.19"
    assert setup(machine, stamp=built)[0] == 0
    assert setup(machine, "--with-openssl", stamp=built)[0] == 0
    old = built.replace("fuse3 3.17.4", "fuse3 3.16")
    assert "fetching the sources of fuse3 liburing openssl\n" in setup(machine, stamp=old)[1]


def test_its_options_are_told_and_no_others_taken(setup):
    status, said, _ = setup(NEW, "--help")
    assert status == 0
    assert "--dev" in said and "--with-openssl" in said and "FLOWFS_SOURCE_SUITES" in said
    status, said, error = setup(NEW, "--openssl")
    assert (status, said) == (1, "")
    assert "unknown argument --openssl" in error
