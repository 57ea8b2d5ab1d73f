# SPDX-License-Identifier: BSD-3-Clause
"""names/NAME/security: who may see and set it, what it takes, and that it fails closed."""

import errno
import os
import stat
import subprocess

import pytest
from harness import binary, close, track, write_text
from procs import Child, as_user, sh, wait_for
from sysc import raises_errno

ALICE, BOB = 62001, 62002
FILES = {"authenticate": 0o600, "encrypt": 0o600, "certificate": 0o600, "key": 0o200,
         "ca": 0o600, "crl": 0o600}
PEM = ["certificate", "key", "ca", "crl"]
LONGEST = 65536


def content(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class Pems:
    """PEM texts, made once: of two pairs of certificate and key, and of their authority."""

    def __init__(self, folder):
        def run(*arguments):
            subprocess.run([binary("flowctl"), "cert", *arguments], check=True,
                           capture_output=True)
        run("init", folder)
        run("server", "log", "--dir", folder)
        run("server", "audit", "--dir", folder)
        run("revoke", "server/audit", "--dir", folder)

        def text(*parts):
            return content(os.path.join(folder, *parts))
        self.certificate = text("server", "log", "crt.pem")
        self.key = text("server", "log", "key.pem")
        self.ca = text("cacert", "authority.pem")
        self.crl = text("crl", "authority.pem")
        self.other_key = text("server", "audit", "key.pem")

    def of(self, file):
        return getattr(self, file)


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    return Pems(str(tmp_path_factory.mktemp("pems") / "security"))


@pytest.fixture
def security(name):
    return lambda file: os.path.join(name.path, "security", file)


def bytes_of(daemon, uid):
    return int(daemon.usage(uid)["bytes"])


# --- The folder ---------------------------------------------------------------------------------
def test_the_folder_is_its_owners_alone(name, security):
    assert stat.S_IMODE(os.stat(security("")).st_mode) == 0o700
    assert stat.S_ISDIR(os.stat(security("")).st_mode)
    found = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(security(""))}
    assert found == FILES
    os.chmod(name.path, 0o777)
    for attempt in (lambda: os.listdir(security("")), lambda: content(security("encrypt")),
                    lambda: write_text(security("encrypt"), "off")):
        with raises_errno(errno.EACCES):
            as_user(ALICE, attempt)


def test_the_owner_of_a_name_sets_it(daemon):
    path = daemon.path("names", "alices")

    def set_it():
        os.mkdir(path)
        write_text(f"{path}/security/authenticate", "server")
        return content(f"{path}/security/authenticate")
    assert as_user(ALICE, set_it) == "server\n"
    with raises_errno(errno.EACCES):
        as_user(BOB, os.listdir, f"{path}/security")


def test_it_goes_with_its_name_and_not_before(security):
    with raises_errno(errno.EPERM):
        os.rmdir(security(""))
    with raises_errno(errno.EPERM):
        os.unlink(security("key"))
    with raises_errno(errno.ENOTDIR):
        os.rmdir(security("key"))
    with raises_errno(errno.ENOENT):
        os.rmdir(security("other"))
    with raises_errno(errno.EPERM):
        os.mkdir(security("other"))
    with raises_errno(errno.EACCES):
        with open(security("other"), "w", encoding="ascii"):
            pass


def test_modes_of_the_files_can_be_changed(name, security):
    os.chmod(name.path, 0o755)
    os.chmod(security(""), 0o755)
    os.chmod(security("encrypt"), 0o644)
    assert as_user(ALICE, content, security("encrypt")) == "default\n"
    with raises_errno(errno.EACCES):
        as_user(ALICE, content, security("ca"))


# --- The policy ---------------------------------------------------------------------------------
@pytest.mark.parametrize("file, values", [
    ("authenticate", ["none", "server", "client", "mutual", "default"]),
    ("encrypt", ["off", "allow", "require", "default"])])
def test_a_policy_is_one_of_its_words(security, file, values):
    assert content(security(file)) == "default\n"
    for value in values:
        write_text(security(file), f" {value}\n")
        assert content(security(file)) == f"{value}\n"
    for bad in ("", "yes", "None", "off require", "server\nclient", "x" * 5000):
        with raises_errno(errno.EINVAL):
            write_text(security(file), bad + "\n")
    assert content(security(file)) == "default\n"


@pytest.mark.parametrize("value", ["server", "client", "mutual"])
def test_a_flow_that_cannot_be_secured_is_refused(name, security, value):
    write_text(security("authenticate"), value)
    with raises_errno(errno.ENOKEY):
        name.open_dial()
    write_text(security("authenticate"), "default")
    close(*name.pair())


def test_the_server_never_sees_a_refused_flow(daemon, name, security):
    write_text(security("authenticate"), "server")
    server = Child(lambda: os.close(os.open(name.accept, os.O_RDWR)))
    daemon.wait_states(**{"accept-pending": 1})
    with raises_errno(errno.ENOKEY):
        name.open_dial()
    assert list(daemon.flow_states().values()) == ["accept-pending"]
    write_text(security("authenticate"), "none")
    client = track(name.open_dial())
    server.result()
    close(client)


def test_a_flow_that_is_up_goes_on(name, security):
    client, server = name.pair()
    write_text(security("encrypt"), "require")
    os.write(client, b"on")
    assert os.read(server, 10) == b"on"
    close(client, server)


# --- PEM ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", ["certificate", "ca", "crl"])
def test_a_text_reads_back(security, pems, file):
    assert content(security(file)) == ""
    write_text(security(file), pems.of(file))
    assert content(security(file)) == pems.of(file)
    write_text(security(file), "\n")
    assert content(security(file)) == ""


def test_a_key_never_reads_back(security, pems):
    write_text(security("key"), pems.key)
    with raises_errno(errno.EACCES):
        content(security("key"))
    os.chmod(security("key"), 0o600)
    with raises_errno(errno.EACCES):
        content(security("key"))


@pytest.mark.parametrize("size", [1, 100, 4096])
def test_a_text_may_come_in_parts(security, pems, size):
    text = pems.ca.encode()
    file = track(os.open(security("ca"), os.O_WRONLY))
    begin = text.index(b"\n") + 1
    os.write(file, text[:begin])
    for at in range(begin, len(text), size):
        assert content(security("ca")) == "" or text[:at].rstrip().endswith(b"-----")
        os.write(file, text[at:at + size])
    assert content(security("ca")).rstrip() == pems.ca.rstrip()
    close(file)


def test_the_shell_sets_them(security, pems, tmp_path):
    for file in PEM:
        (tmp_path / file).write_text(pems.of(file), encoding="ascii")
        sh(f"cat '{tmp_path / file}' >'{security(file)}'")
    assert sh(f"cat '{security('certificate')}'").out == pems.certificate


def test_a_text_that_never_ends_sets_nothing(security, pems):
    write_text(security("ca"), pems.ca)
    write_text(security("ca"), pems.ca[:-20])
    assert content(security("ca")) == pems.ca


@pytest.mark.parametrize("file", PEM)
def test_what_is_no_pem_is_refused(security, pems, file):
    wrong = pems.ca if file in ("key", "crl") else pems.key
    spoiled = pems.of(file).replace("\n", "\n!", 1)
    for text in ("nothing", wrong, spoiled):
        with raises_errno(errno.EINVAL):
            write_text(security(file), text)


def test_an_encrypted_key_is_refused(security, tmp_path):
    key = tmp_path / "key.pem"
    sh(f"openssl genpkey -algorithm ED25519 -aes128 -pass pass:x -out '{key}'")
    with raises_errno(errno.EKEYREJECTED):
        write_text(security("key"), content(key))


def test_sizes_are_told_and_kept(security, pems):
    assert os.stat(security("encrypt")).st_size == 4096
    for file in PEM:
        assert os.stat(security(file)).st_size == LONGEST
    padded = "\n" * (LONGEST - len(pems.ca)) + pems.ca
    write_text(security("ca"), padded)
    assert content(security("ca")) == padded
    with raises_errno(errno.EINVAL):
        write_text(security("ca"), "\n" + padded)
    assert content(security("ca")) == padded


def test_texts_are_charged_to_the_owner_of_the_name(daemon, pems):
    path = daemon.path("names", "charged")

    def set_them():
        os.mkdir(path)
        for file in PEM:
            write_text(f"{path}/security/{file}", pems.of(file))
    as_user(BOB, set_them)
    assert bytes_of(daemon, BOB) == sum(len(pems.of(file)) for file in PEM)
    write_text(f"{path}/security/ca", "\n")  # by root, whom it costs nothing
    assert bytes_of(daemon, BOB) == sum(len(pems.of(file)) for file in PEM if file != "ca")
    as_user(BOB, os.rmdir, path)
    assert bytes_of(daemon, BOB) == 0


def test_a_limit_refuses_more_texts(daemon, pems):
    path = daemon.path("names", "limited")
    as_user(ALICE, os.mkdir, path)
    write_text(daemon.path("users", str(ALICE), "limits"), f"bytes {len(pems.ca)}\n")
    as_user(ALICE, write_text, f"{path}/security/ca", pems.ca)
    with raises_errno(errno.EDQUOT):
        as_user(ALICE, write_text, f"{path}/security/crl", pems.crl)
    assert as_user(ALICE, content, f"{path}/security/crl") == ""
    write_text(daemon.path("users", str(ALICE), "limits"), "bytes max\n")


def test_a_name_that_is_renamed_keeps_them(daemon, name, security, pems):
    write_text(security("ca"), pems.ca)
    write_text(security("encrypt"), "allow")
    other = daemon.path("names", "renamed")
    os.rename(name.path, other)
    assert content(f"{other}/security/ca") == pems.ca
    assert content(f"{other}/security/encrypt") == "allow\n"
    os.rename(other, name.path)


def test_a_name_that_is_made_again_has_nothing(name, security, pems):
    write_text(security("ca"), pems.ca)
    write_text(security("encrypt"), "require")
    os.rmdir(name.path)
    os.mkdir(name.path)
    wait_for(lambda: content(security("ca")) == "", "the new name's file")
    assert content(security("encrypt")) == "default\n"
