# SPDX-License-Identifier: BSD-3-Clause
"""flowfs-security(7): its recipes are run as they stand."""

import os
import re
import subprocess

import pytest
from harness import binary
from procs import sh
from test_flowctl_pages import ROOT, sections, source

PAGE = "flowfs-security.7"
RECIPES = ["A closed laboratory", "A public service", "Both sides", "Rotation of keys",
           "Revocation"]


def blocks(heading):
    """The commands of a recipe: a list for each literal block, continued lines joined."""
    text = "\n".join(sections(source("man", PAGE))[heading])
    return [[line.replace("\\e\n", "\\\n")[2:] for line in re.split(r"\n(?=# )", block)]
            for block in re.findall(r"\.Bd -literal -offset indent\n(.*?)\n\.Ed", text, re.DOTALL)]


class Shell:
    """Runs recipes with another security folder and home than root's."""

    def __init__(self, folder, home):
        self.folder, self.home = folder, home
        self.program = os.path.abspath(binary("flowctl"))

    def run(self, *blocks_of_commands):
        for commands in blocks_of_commands:
            script = "\n".join(commands).replace("/etc/flowfs/security", self.folder)
            sh(f"""set -e; umask 022; cd '{self.home}'; HOME='{self.home}'
                flowctl() {{
                  case $2 in
                    init | check) command '{self.program}' "$@" '{self.folder}' ;;
                    *) command '{self.program}' "$@" --dir '{self.folder}' ;;
                  esac
                }}
                {script}""")


@pytest.fixture
def shell(tmp_path):
    return Shell(str(tmp_path / "security"), str(tmp_path))


def test_the_page_is_sound():
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", os.path.join(ROOT, "man", PAGE)],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_recipe_is_tried():
    headings = list(sections(source("man", PAGE)))
    start = headings.index("RECIPES")
    assert headings[start + 1:start + 1 + len(RECIPES)] == RECIPES
    assert headings[start + 1 + len(RECIPES)] == "SEE ALSO"
    assert all(blocks(heading) for heading in RECIPES)


def test_a_closed_laboratory(shell):
    shell.run(*blocks("A closed laboratory"))


def test_a_public_service(shell, tmp_path):
    request, install = blocks("A public service")
    shell.run(request)
    sh(f"""cd '{tmp_path}'
        openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -subj /CN=ca -days 10 \
          -addext keyUsage=keyCertSign -out authority.pem
        openssl x509 -req -in request.pem -CA authority.pem -CAkey ca.key -CAcreateserial \
          -copy_extensions copy -days 5 -out chain.pem
        mkdir -p '{shell.folder}'; chmod 700 '{shell.folder}'""")
    shell.run(install)


def test_both_sides(shell):
    shell.run(*blocks("A closed laboratory"), *blocks("Both sides"))


def test_rotation_of_keys(shell):
    shell.run(*blocks("A closed laboratory"))
    in_place, set_up, replace = blocks("Rotation of keys")
    certificate = os.path.join(shell.folder, "server", "log", "crt.pem")
    with open(certificate, encoding="ascii") as file:
        before = file.read()
    shell.run(in_place, ["flowctl cert check"])
    with open(certificate, encoding="ascii") as file:
        assert file.read() != before
    sh(f"rm -r '{shell.folder}/server'")
    shell.run(set_up, ["flowctl cert check"])
    shell.run([set_up[0], *replace], ["flowctl cert check"])
    assert os.readlink(os.path.join(shell.folder, "server", "log")) == "log.2"


def test_revocation(shell):
    shell.run(*blocks("A closed laboratory"), *blocks("Both sides"))
    revoke, renew = blocks("Revocation")
    shell.run(revoke)
    with pytest.raises(AssertionError, match="revoked"):
        shell.run(["flowctl cert check"])
    shell.run(renew)
