# SPDX-License-Identifier: BSD-3-Clause
"""flowctl cert: a security folder is made, checked, and understood by the openssl command."""

import json
import os
import stat
import subprocess

import pytest
from harness import binary
from procs import as_user


def flowctl_cert(*arguments):
    """A run of flowctl cert: status, out, err."""
    done = subprocess.run([binary("flowctl"), "cert", *arguments], text=True, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=20,
                          env={**os.environ, "COLUMNS": "200"})
    return done.returncode, done.stdout, done.stderr


class Security:
    """A security folder of the test."""

    def __init__(self, path):
        self.path = path

    def file(self, *parts):
        return os.path.join(self.path, *parts)

    def run(self, *arguments):
        return flowctl_cert(*arguments, "--dir", self.path)

    def made(self, *arguments):
        code, out, err = self.run(*arguments)
        assert (code, err) == (0, "")
        return out.splitlines()

    def check(self):
        code, out, err = flowctl_cert("check", self.path, "--json")
        assert err == ""
        return code, json.loads(out)

    def verdicts(self):
        return {f"{one['side']}/{one['name']}": one["verdict"]
                for one in self.check()[1]["certificates"]}


@pytest.fixture
def empty(tmp_path):
    return Security(str(tmp_path / "a" / "security"))


@pytest.fixture
def security(empty):
    code, _, err = flowctl_cert("init", empty.path)
    assert (code, err) == (0, "")
    return empty


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)


def test_a_new_folder_is_good_and_private(security):
    security.made("server", "log")
    security.made("client", "log")
    code, found = security.check()
    assert code == 0
    assert (found["authorities"], found["refused"]) == (1, [])
    assert security.verdicts() == {"server/log": "ok", "client/log": "ok"}
    for folder, folders, files in os.walk(security.path):
        for entry in folders:
            assert stat.S_IMODE(os.stat(os.path.join(folder, entry)).st_mode) == 0o700
        for entry in files:
            assert stat.S_IMODE(os.stat(os.path.join(folder, entry)).st_mode) == 0o600


def test_what_is_written_is_told(security):
    assert security.made("server", "log") == [security.file("server", "log", "key.pem"),
                                              security.file("server", "log", "crt.pem")]
    code, out, _ = security.run("client", "log", "--json")
    assert code == 0
    assert [json.loads(line)["written"] for line in out.splitlines()] == [
        security.file("client", "log", "key.pem"), security.file("client", "log", "crt.pem")]


def test_check_tells_which_certificates_nobody_asks_for(empty):
    empty.made("lab", "log")

    def not_asked():
        found = {f"{one['side']}/{one['name']}" for one in empty.check()[1]["certificates"]
                 if not one["asked"]}
        _, out, _ = flowctl_cert("check", empty.path)
        assert {line.removeprefix("not asked for: ") for line in out.splitlines()
                if line.startswith("not asked for: ")} == found
        return found

    def policy(side, value):
        with open(empty.file(side, "log", "enc.toml"), "w", encoding="ascii") as file:
            file.write(f'authenticate = "{value}"\n')
    assert not_asked() == {"server/log", "client/log"}
    policy("server", "server")
    assert not_asked() == {"client/log"}
    policy("client", "client")
    assert not_asked() == set()


@pytest.mark.parametrize("side, purpose", [("server", "sslserver"), ("client", "sslclient")])
def test_the_openssl_command_believes_it(security, side, purpose):
    security.made(side, "log")
    done = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile",
                   security.file("cacert", "authority.pem"), security.file(side, "log", "crt.pem"))
    assert done.returncode == 0, done.stderr


def test_a_laboratory_is_made_in_one_command(empty):
    made = empty.made("lab", "log", "--subject", "alice", "--days", "3")
    assert made == [empty.file(*parts) for parts in (
        ("authority", "key.pem"), ("authority", "crt.pem"), ("cacert", "authority.pem"),
        ("server", "log", "key.pem"), ("server", "log", "crt.pem"),
        ("client", "log", "key.pem"), ("client", "log", "crt.pem"))]
    assert empty.verdicts() == {"server/log": "ok", "client/log": "ok"}
    assert len(empty.made("lab", "audit")) == 4  # the authority stays
    assert empty.check()[0] == 0
    authority = empty.file("authority", "crt.pem")
    assert openssl("x509", "-in", authority, "-checkend", str(9 * 86400)).returncode == 0
    assert "alice" not in openssl("x509", "-in", authority, "-noout", "-subject").stdout
    code, out, err = empty.run("lab", "log")
    assert (code, out) == (1, "")
    assert "--force" in err
    assert empty.run("lab", "a/b")[0] == 2


def test_names_subject_and_days_are_as_asked(security):
    security.made("server", "log:a@b", "--host", "one.example", "--host", "two.example",
                  "--subject", "The log", "--days", "3")
    certificate = security.file("server", "log:a@b", "crt.pem")
    text = openssl("x509", "-in", certificate, "-noout", "-subject", "-ext",
                   "subjectAltName").stdout
    assert "The log" in text
    assert "URI:flowfs:log:a@b, DNS:one.example, DNS:two.example" in text
    assert openssl("x509", "-in", certificate, "-checkend", str(2 * 86400)).returncode == 0
    assert openssl("x509", "-in", certificate, "-checkend", str(4 * 86400)).returncode == 1


def test_nothing_is_replaced_unless_asked(security):
    security.made("server", "log")
    with open(security.file("server", "log", "crt.pem"), encoding="ascii") as file:
        before = file.read()
    os.unlink(security.file("server", "log", "key.pem"))
    code, out, err = security.run("server", "log")
    assert (code, out) == (1, "")
    assert "--force" in err
    assert not os.path.exists(security.file("server", "log", "key.pem"))
    security.made("server", "log", "--force")
    with open(security.file("server", "log", "crt.pem"), encoding="ascii") as file:
        assert file.read() != before
    assert security.verdicts() == {"server/log": "ok"}
    assert sorted(os.listdir(security.file("server", "log"))) == ["crt.pem", "key.pem"]


def test_a_revoked_certificate_is_refused_and_a_new_one_is_not(security):
    for name in ("log", "audit", "stolen"):
        security.made("server", name)
    assert security.made("revoke", "server/stolen") == [security.file("crl", "authority.pem")]
    security.made("revoke", "server/audit")
    assert security.check()[0] == 1
    assert security.verdicts() == {"server/audit": "revoked", "server/log": "ok",
                                   "server/stolen": "revoked"}
    security.made("server", "stolen", "--force")
    assert security.verdicts()["server/stolen"] == "ok"
    listed = openssl("crl", "-in", security.file("crl", "authority.pem"), "-noout", "-text").stdout
    assert listed.count("Serial Number:") == 2


def test_check_says_in_words_what_is_refused(security):
    security.made("server", "log")
    security.made("client", "log")
    os.chmod(security.file("client", "log", "key.pem"), 0o640)
    code, found = security.check()
    assert code == 1
    assert found["refused"] == [{"path": security.file("client", "log", "key.pem"),
                                 "why": "others may read or write it: chmod 0600"}]
    code, out, _ = flowctl_cert("check", security.path)
    assert code == 1
    assert f"refused {security.file('client', 'log', 'key.pem')}\n  others may read" in out
    assert "the chain is good" in out


def test_check_knows_a_certificate_of_another_authority(security, tmp_path):
    other = Security(str(tmp_path / "other"))
    assert flowctl_cert("init", other.path)[0] == 0
    other.made("server", "log")
    os.makedirs(security.file("server"), mode=0o700)
    os.rename(other.file("server", "log"), security.file("server", "log"))
    assert security.verdicts() == {"server/log": "untrusted"}


def test_check_knows_a_certificate_of_another_name(security):
    security.made("server", "log")
    os.rename(security.file("server", "log"), security.file("server", "audit"))
    assert security.verdicts() == {"server/audit": "wrong-name"}


def pem_of(text):
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"


def spoil(security, *parts, text=None, size=None):
    """Another text in a file's place, or its first bytes alone."""
    path = security.file(*parts)
    if size is not None:
        os.truncate(path, size)
    else:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)


def lock_key(security):
    key = security.file("server", "log", "key.pem")
    assert openssl("pkey", "-in", key, "-aes128", "-passout", "pass:x",
                   "-out", f"{key}.locked").returncode == 0
    os.rename(f"{key}.locked", key)
    os.chmod(key, 0o600)


def take_another_key(security):
    security.made("server", "audit")
    with open(security.file("server", "audit", "key.pem"), encoding="ascii") as file:
        spoil(security, "server", "log", "key.pem", text=file.read())


def link(security, target, *parts):
    if os.path.lexists(security.file(*parts)):
        os.unlink(security.file(*parts))
    os.symlink(target, security.file(*parts))


FAULTS = [
    (lambda s: os.chmod(s.file("server"), 0o777), "server", "others may write to it"),
    (lambda s: os.chmod(s.file("cacert"), 0o770), "cacert", "others may write to it"),
    (lambda s: os.chmod(s.path, 0o777), "", "others may write to it"),
    (lambda s: os.chown(s.file("server", "log", "crt.pem"), 62001, -1), "server/log/crt.pem",
     "it belongs to another user"),
    (lock_key, "server/log/key.pem", "the key is encrypted, and nobody is asked"),
    (lambda s: spoil(s, "server", "log", "key.pem", size=60), "server/log/key.pem",
     "the key is malformed or cut short"),
    (lambda s: spoil(s, "server", "log", "crt.pem", size=300), "server/log/crt.pem",
     "a certificate is malformed or cut short"),
    (lambda s: spoil(s, "server", "log", "crt.pem", size=0), "server/log/crt.pem",
     "there is no certificate in it"),
    (lambda s: spoil(s, "cacert", "b.pem", text=pem_of("A" * 60)), "cacert/b.pem",
     "a certificate is malformed or cut short"),
    (lambda s: spoil(s, "cacert", "b.pem", text="x" * 65537), "cacert/b.pem", "it is too long"),
    (take_another_key, "server/log/key.pem", "the key is not that of the (first) certificate"),
    (lambda s: link(s, "key.pem", "server", "log", "key.pem"), "server/log/key.pem",
     "it cannot be opened: Too many levels of symbolic links"),
    (lambda s: link(s, "nowhere", "server", "log", "enc.toml"), "server/log/enc.toml",
     "it is a link to what is not there"),
    (lambda s: link(s, "nowhere", "server", "audit"), "server/audit",
     "it is a link to what is not there"),
    (lambda s: os.mkdir(s.file("cacert", "more")), "cacert/more", "it is not a regular file"),
    (lambda s: os.mkdir(s.file("client", "a\x1b[31m")), "client",
     "'a?[31m' is no name that a flow can have"),
    (lambda s: spoil(s, "server", "enc.toml", text=""), "server/enc.toml",
     "it cannot be opened: Not a directory"),
    (lambda s: spoil(s, "client", "audit", "enc.toml", text='authenticate = "mutual"'),
     "client/audit/enc.toml", "this side must show a certificate and has none"),
    (lambda s: spoil(s, "client", "log", "enc.toml", text='cipher = ["rc4"]'),
     "client/log/enc.toml", "enc.toml:1: cipher: "),
]


@pytest.mark.parametrize("fault, path, why", FAULTS)
def test_check_finds(security, fault, path, why):
    for made in ("server", "client"):
        security.made(made, "log")
    os.mkdir(security.file("client", "audit"), mode=0o700)
    assert security.check()[0] == 0
    fault(security)
    code, found = security.check()
    assert code == 1
    assert [one["path"] for one in found["refused"]][:1] == [security.file(path).rstrip("/")]
    assert why in found["refused"][0]["why"]
    code, out, err = flowctl_cert("check", security.path)
    assert (code, err) == (1, "")
    assert why in out and "\x1b" not in out


def test_check_without_the_right_to_read_says_so(security):
    code, out, err = as_user(62001, flowctl_cert, "check", security.path)
    assert (code, err) == (1, "")
    assert f"refused {security.path}\n  it cannot be opened: Permission denied\n" in out


def test_nobody_writes_where_he_may_not(security):
    code, out, err = as_user(62001, security.run, "server", "log")
    assert (code, out) == (1, "")
    assert "Permission denied" in err


def test_what_is_written_is_never_there_by_half(security):
    """The daemon may read at any time, and passes over what begins with a dot."""
    security.made("server", "log")
    os.mkdir(security.file("crl"), mode=0o700)
    os.mkdir(security.file("crl", ".authority.pem.new"))  # in the way of the file that is written
    code, _, err = security.run("revoke", "server/log")
    assert code == 1
    assert "cannot write" in err
    assert os.listdir(security.file("crl")) == [".authority.pem.new"]
    os.rmdir(security.file("crl", ".authority.pem.new"))
    security.made("revoke", "server/log")
    assert os.listdir(security.file("crl")) == ["authority.pem"]


def test_what_was_revoked_can_be_revoked_again(security):
    """That makes a list that is in force for longer."""
    security.made("server", "log")
    for days in ("3", "40"):
        security.made("revoke", "server/log", "--days", days)
    listed = openssl("crl", "-in", security.file("crl", "authority.pem"), "-noout", "-text").stdout
    assert listed.count("Serial Number:") == 1


def test_a_key_that_clients_encapsulate_to_has_two_halves(security):
    code, out, err = security.run("kem", "log")
    if code != 0:
        assert "this OpenSSL has no ML-KEM" in err
        assert not os.path.exists(security.file("server", "log", "kem.pem"))
        pytest.skip("this OpenSSL has no ML-KEM, which came with 3.5")
    paths = [security.file(side, "log", "kem.pem") for side in ("server", "client")]
    assert out.splitlines() == paths
    for path, kind in zip(paths, ("PRIVATE", "PUBLIC")):
        with open(path, encoding="ascii") as file:
            assert file.readline() == f"-----BEGIN {kind} KEY-----\n"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert security.check()[0] == 0
    code, _, err = security.run("kem", "log")
    assert code == 1 and "--force" in err


def test_check_knows_a_policy_that_this_openssl_cannot_meet(security):
    without = security.run("kem", "log")[0] != 0
    os.makedirs(security.file("server", "log"), mode=0o700, exist_ok=True)
    spoil(security, "server", "log", "enc.toml", text='require-pq = true')
    code, found = security.check()
    assert (code, len(found["refused"])) == ((1, 1) if without else (0, 0))
    if without:
        assert "post-quantum" in found["refused"][0]["why"]


def test_check_of_no_folder_finds_no_authority(empty):
    code, found = empty.check()
    assert (code, found["authorities"], found["certificates"]) == (1, 0, [])


def test_without_an_authority_nothing_is_signed(empty):
    code, out, err = empty.run("server", "log")
    assert (code, out) == (1, "")
    assert "flowctl cert init" in err
    assert not os.path.exists(empty.path)


@pytest.mark.parametrize("arguments", [
    ["server"], ["server", "../log"], ["server", ".log"], ["revoke", "log"], ["revoke", "other/log"],
    ["revoke", "server/../x"], ["sign", "log"], ["server", "log", "--days", "0"],
    ["server", "log", "--subject", "x" * 65], []])
def test_a_wrong_command_line_is_a_usage_error(security, arguments):
    code, out, err = security.run(*arguments)
    assert (code, out) == (2, "")
    assert err != ""


def test_a_host_that_would_say_more_is_refused(security):
    code, _, err = security.run("server", "log", "--host", "a,DNS:b")
    assert code == 1
    assert "a name or a host has characters that none may have" in err


@pytest.mark.parametrize("file, fault, why", [
    ("key.pem", lambda path: os.chmod(path, 0o644), "others may read or write it: chmod 0600"),
    ("key.pem", os.unlink, "`flowctl cert init` makes one"),
    ("crt.pem", lambda path: os.chmod(path, 0o666), "others may write to it")])
def test_an_authority_that_cannot_be_used_signs_nothing(security, file, fault, why):
    fault(security.file("authority", file))
    code, out, err = security.run("server", "log")
    assert (code, out) == (1, "")
    assert f"{security.file('authority', file)}: " in err and why in err
    assert not os.path.exists(security.file("server"))
