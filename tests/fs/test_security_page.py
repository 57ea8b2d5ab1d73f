# SPDX-License-Identifier: BSD-3-Clause
"""flowfs-security(7): its recipes are run as they stand, beside a daemon that goes by what they make."""

import errno
import os
import re
import subprocess
import threading
import time

import pytest
from harness import Name, binary, close
from procs import sh, wait_for
from test_flowctl_pages import ROOT, sections, source
from test_handshakes import NONBLOCK, certificate, until_refused

DIAL_S = 0.005  # between dials: 500 a second of one user are let through
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


@pytest.fixture
def mount(shell, fresh_daemon):
    """Its log and its names go by the folder of the recipes."""
    daemon = fresh_daemon(f'[daemon]\nsecurity = "{shell.folder}"\n').start()
    yield daemon
    daemon.stop()


def made(daemon, text):
    """The name, registered."""
    name = Name(daemon, text)
    os.mkdir(name.path)
    return name


def subjects(daemon, name):
    """Of a flow to the name, whom its ends are told that the other one is."""
    server = name.open_accept(NONBLOCK)
    try:
        client = name.open_dial(NONBLOCK)
        told = certificate(daemon, "allocated")
        close(client)
    finally:
        close(server)
    daemon.wait_states(allocated=0)
    return told


def wait_until_told(daemon, name, wanted, meanwhile):
    """The folder is looked at once a second; until then the old holds, or the refusal with `meanwhile`."""
    def told():
        try:
            return subjects(daemon, name) == wanted
        except OSError as error:
            assert error.errno == meanwhile
            return False
    wait_for(told, f"ends that are told {wanted}")


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


def test_a_closed_laboratory(shell, mount):
    shell.run(*blocks("A closed laboratory"))
    assert subjects(mount, made(mount, "log")) == {"CN=log", "none"}


def test_a_public_service(shell, mount, tmp_path):
    request, install = blocks("A public service")
    shell.run(request)
    sh(f"""cd '{tmp_path}'
        openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -subj /CN=ca -days 10 \
          -addext keyUsage=keyCertSign -out authority.pem
        openssl x509 -req -in request.pem -CA authority.pem -CAkey ca.key -CAcreateserial \
          -copy_extensions copy -days 5 -out chain.pem
        mkdir -p '{shell.folder}'; chmod 700 '{shell.folder}'""")
    shell.run(install)
    assert subjects(mount, made(mount, "log.example")) == {"CN=The log", "none"}


def test_both_sides(shell, mount):
    shell.run(*blocks("A closed laboratory"), *blocks("Both sides"))
    assert subjects(mount, made(mount, "log")) == {"CN=log", "CN=alice"}


def test_rotation_of_keys(shell, mount):
    shell.run(*blocks("A closed laboratory"))
    in_place, set_up, replace = blocks("Rotation of keys")
    name = made(mount, "log")
    client, server = name.pair()
    certificate = os.path.join(shell.folder, "server", "log", "crt.pem")
    with open(certificate, encoding="ascii") as file:
        before = file.read()
    shell.run(in_place, ["flowctl cert check"])
    with open(certificate, encoding="ascii") as file:
        assert file.read() != before
    os.write(client, b"on")
    assert os.read(server, 10) == b"on"
    close(client, server)
    mount.wait_states(allocated=0)
    sh(f"rm -r '{shell.folder}/server'")
    shell.run(set_up, ["flowctl cert check"])
    wait_until_told(mount, name, {"CN=log.1", "none"}, errno.EKEYREJECTED)
    swapped = threading.Event()
    told = []

    def dial():
        while not (swapped.is_set() and told and "CN=log.2" in told[-1]):
            told.append(subjects(mount, name))
            time.sleep(DIAL_S)
    dialler = threading.Thread(target=dial)
    dialler.start()
    try:
        shell.run([set_up[0], *replace], ["flowctl cert check"])
    finally:
        swapped.set()
        dialler.join()
    # Each dial found one or the other, never half of one.
    assert {"none"} not in told and told[-1] == {"CN=log.2", "none"}
    assert os.readlink(os.path.join(shell.folder, "server", "log")) == "log.2"


def test_revocation(shell, mount):
    shell.run(*blocks("A closed laboratory"), *blocks("Both sides"))
    name = made(mount, "log")
    assert subjects(mount, name) == {"CN=log", "CN=alice"}
    revoke, renew = blocks("Revocation")
    shell.run(revoke)
    with pytest.raises(AssertionError, match="revoked"):
        shell.run(["flowctl cert check"])
    until_refused(name, errno.EKEYREVOKED)
    shell.run(renew)
    wait_until_told(mount, name, {"CN=log", "CN=alice"}, errno.EKEYREVOKED)
