# SPDX-License-Identifier: BSD-3-Clause
"""Names that the administrator's security folder has a policy for: who may dial them, what refuses a
dial, and that the server that waits never hears of it."""

import concurrent.futures
import errno
import itertools
import os
import subprocess

import pytest
import wire
from harness import Name, binary, close, read_values, track, write_text
from procs import Child, wait_for
from sysc import open_once, raises_errno

NONBLOCK = os.O_RDWR | os.O_NONBLOCK
ALICE = 61001
_numbers = itertools.count(1)


class Security:
    """The folder, made with flowctl cert."""

    def __init__(self, path):
        self.path = path
        self.cert("init")

    def cert(self, *arguments):
        subprocess.run([binary("flowctl"), "cert", *arguments, "--dir", self.path], check=True,
                       capture_output=True)

    def policy(self, side, name, text):
        folder = os.path.join(self.path, side, name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # Whole at once: the daemon may look at any time.
        new = os.path.join(folder, ".enc.toml")
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(new, os.path.join(folder, "enc.toml"))


@pytest.fixture(scope="module")
def security(tmp_path_factory):
    return Security(str(tmp_path_factory.mktemp("handshakes") / "security"))


@pytest.fixture(scope="module")
def config(security):
    return f'[daemon]\nsecurity = "{security.path}"\n'


@pytest.fixture
def secured(daemon, security):
    """A name of the test's own, and its server side's policy once it is called with one."""
    made = Name(daemon, f"h{next(_numbers)}")

    def make(policy=None, *certificates):
        for side in certificates:
            security.cert(side, made.name)
        if policy is not None:
            security.policy("server", made.name, policy)
        os.mkdir(made.path)
        return made
    return make


def certificate(daemon, state_of):
    """What `peer` of the flows shows, by side."""
    return {read_values(daemon.path("flows", str(flow), "peer"))["certificate"]
            for flow, state in daemon.flow_states().items() if state == state_of}


def handshakes(daemon):
    values = daemon.metrics()
    return {what: values[(f"flowfs_handshakes_{what}_total", frozenset())]
            for what in ("admitted", "refused")}


def until_refused(name, number):
    """Dials until what was changed in the folder holds: it is looked at once a second."""
    def refused():
        try:
            close(name.open_dial(NONBLOCK))
        except OSError as error:
            return error.errno == number
        return False
    wait_for(refused, f"dial: {errno.errorcode[number]}")


def test_a_name_without_a_policy_is_dialled_as_ever(daemon, secured):
    name = secured()
    before = handshakes(daemon)
    client, server = name.pair()
    os.write(client, b"hello")
    assert os.read(server, 10) == b"hello"
    assert certificate(daemon, "allocated") == {"none"}
    assert handshakes(daemon) == before


def test_a_server_that_shows_its_certificate_is_told_to_its_client_alone(daemon, secured):
    name = secured('authenticate = "server"\n', "server")
    before = handshakes(daemon)
    client, server = name.pair()
    os.write(server, b"hello")
    assert os.read(client, 10) == b"hello"
    assert certificate(daemon, "allocated") == {f"CN={name.name}", "none"}
    assert handshakes(daemon) == {"admitted": before["admitted"] + 1, "refused": before["refused"]}


def test_a_client_without_a_certificate_is_refused_and_the_server_waits_on(daemon, security,
                                                                           secured):
    name = secured('authenticate = "mutual"\n', "server")
    server = Child(open_once, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    before = handshakes(daemon)
    for flags in (os.O_RDWR, os.O_WRONLY, NONBLOCK):
        with raises_errno(errno.ENOKEY):
            name.open_dial(flags)
    assert not server.finished(0.01)
    assert list(daemon.flow_states().values()) == ["accept-pending"]
    assert name.stats()["refused"] == "3"
    assert handshakes(daemon)["refused"] == before["refused"] + 3
    assert f'name={name.name} uid=0 why="this side must show a certificate' in daemon.log()

    security.cert("client", name.name, "--subject", "a client")

    def let_through():
        try:
            return track(open_once(name.dial, os.O_RDWR))
        except OSError as error:
            assert error.errno == errno.ENOKEY
            return None
    wait_for(let_through, "the certificate to be seen")
    server.result()


def test_both_sides_are_told_whom_they_talk_to(daemon, security, secured):
    name = secured('authenticate = "mutual"\n', "server")
    security.cert("client", name.name, "--subject", "a client")
    _client, _server = name.pair()
    assert certificate(daemon, "allocated") == {f"CN={name.name}", "CN=a client"}


def test_a_server_without_a_certificate_is_not_dialled(secured):
    name = secured('authenticate = "server"\n')
    with raises_errno(errno.ENOKEY):
        name.open_dial(NONBLOCK)


def test_a_certificate_for_another_name_is_refused(daemon, security, secured):
    name = secured('authenticate = "server"\n')
    security.cert("server", "another")
    for file in ("crt.pem", "key.pem"):
        os.rename(os.path.join(security.path, "server", "another", file),
                  os.path.join(security.path, "server", name.name, file))
    with raises_errno(errno.EKEYREJECTED):
        name.open_dial(NONBLOCK)
    assert f"name={name.name} uid=0 why=" in daemon.log()


def test_a_certificate_that_was_taken_back_is_refused_without_a_restart(security, secured):
    name = secured('authenticate = "server"\n', "server")
    close(*name.pair())
    security.cert("revoke", f"server/{name.name}")
    until_refused(name, errno.EKEYREVOKED)


def test_a_policy_holds_for_flows_dialled_after_it_and_leaves_others_alone(security, secured):
    name = secured()
    client, server = name.pair()
    security.policy("server", name.name, 'authenticate = "server"\n')
    until_refused(name, errno.ENOKEY)
    os.write(client, b"on")
    assert os.read(server, 10) == b"on"


# The policies of server and client (None: none of its own), and the cipher of the flow; None: no flow.
ENCRYPTIONS = [("require", None, "chacha20-poly1305"), ("allow", None, "chacha20-poly1305"),
               ("allow", "allow", "chacha20-poly1305"), ("off", "allow", "none"),
               ("allow", "off", "none"), ("require", "off", None), ("off", "require", None)]


@pytest.mark.parametrize("server, client, cipher", ENCRYPTIONS)
def test_a_flow_is_encrypted_where_both_sides_allow_it(daemon, security, secured, server, client,
                                                       cipher):
    name = secured(f'encrypt = "{server}"\ncipher = ["chacha20-poly1305"]\n')
    if client is not None:
        security.policy("client", name.name, f'encrypt = "{client}"\n')
    if cipher is None:
        with raises_errno(errno.ENOKEY):
            name.open_dial(NONBLOCK)
        return
    for fd in name.pair():
        peer = read_values(daemon.path("flows", str(wire.flow_id(fd)), "peer"))
        assert (peer["cipher"], peer["signed"]) == (cipher, "none")


def test_peer_says_who_signed(daemon, security, secured):
    name = secured('authenticate = "mutual"\nencrypt = "require"\nkey-exchange = ["p-384"]\n', "server")
    security.cert("client", name.name, "--subject", "a client")
    client, server = name.pair()
    for fd in (client, server):
        peer = read_values(daemon.path("flows", str(wire.flow_id(fd)), "peer"))
        assert (peer["cipher"], peer["key_exchange"], peer["signed"]) == ("aes-256-gcm", "p-384", "both")
    os.write(client, b"sealed")
    assert os.read(server, 10) == b"sealed"


def has_ml_kem(security, name):
    """Whether the OpenSSL at hand has ML-KEM: then the server's key is there afterwards."""
    return subprocess.run([binary("flowctl"), "cert", "kem", name, "--dir", security.path, "--force"],
                          check=False, capture_output=True).returncode == 0


# Either side encapsulates: the server to what the client offers, or the client to the server's key.
@pytest.mark.parametrize("kind", ["x25519+ml-kem-768", "ml-kem-768", "x25519+ml-kem-768-client",
                                  "ml-kem-768-client"])
def test_what_requires_post_quantum_has_it_or_is_refused(daemon, security, secured, kind):
    name = secured()
    able = has_ml_kem(security, name.name)
    security.policy("server", name.name, 'encrypt = "allow"\nrequire-pq = true\n'
                    f'key-exchange = ["x25519", "{kind}"]\n')
    if not able:
        with raises_errno(errno.ENOKEY):
            name.open_dial(NONBLOCK)
        assert (f'name={name.name} uid=0 why="a post-quantum key exchange is required and not to be '
                'had') in daemon.log()
        pytest.skip("refused, as it has to be: this OpenSSL has no ML-KEM, which came with 3.5")
    client, server = name.pair()
    for fd in (client, server):
        peer = read_values(daemon.path("flows", str(wire.flow_id(fd)), "peer"))
        assert peer["key_exchange"] == kind
    os.write(client, b"sealed")
    assert os.read(server, 10) == b"sealed"


def test_a_client_that_knows_another_key_of_the_server_is_refused(daemon, security, secured):
    name = secured()
    if not has_ml_kem(security, name.name):
        pytest.skip("this OpenSSL has no ML-KEM, which came with 3.5")
    known = os.path.join(security.path, "client", name.name, "kem.pem")
    os.rename(known, f"{known}.former")
    assert has_ml_kem(security, name.name)
    os.rename(f"{known}.former", known)
    security.policy("server", name.name, 'encrypt = "require"\n'
                    'key-exchange = ["x25519+ml-kem-768-client"]\n')
    with raises_errno(errno.EKEYREJECTED):
        name.open_dial(NONBLOCK)
    assert "the key share is for a key that the server does not have" in daemon.log()


def held(daemon, uid):
    """Its requests that wait."""
    try:
        return int(daemon.usage(uid)["held"])
    except FileNotFoundError:  # it has not been seen yet
        return 0


def dial_at_once(path, count):
    """Each in a thread of its own; how many came about."""
    def dial(_):
        try:
            os.close(os.open(path, NONBLOCK))
        except OSError as error:
            return error
        return None
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        return list(threads.map(dial, range(count))).count(None)


@pytest.fixture
def slow(secured):
    """A name that everybody may dial, whose handshakes take long."""
    name = secured('encrypt = "require"\nkey-exchange = ["ffdhe4096"]\n')
    os.chmod(name.path, 0o711)
    os.chmod(name.dial, 0o666)
    return name


def test_nobody_is_checked_who_has_been_killed(daemon, slow):
    """But for the one who was being checked then."""
    many = 48
    dialler = Child(dial_at_once, slow.dial, many, uid=ALICE)
    wait_for(lambda: held(daemon, ALICE) >= many // 2, "dials that wait")
    dialler.kill()
    dialler.reap()
    wait_for(lambda: held(daemon, ALICE) == 0, "no dials that wait")
    before, mine = handshakes(daemon)["admitted"], 8
    for _ in range(mine):  # her turns come in between
        close(slow.open_dial(NONBLOCK))
    assert handshakes(daemon)["admitted"] - before <= mine + 1


def test_nobody_waits_for_all_that_another_has_dialled(daemon, slow):
    """But for one of his handshakes, however long each of them takes."""
    name = Name(daemon, f"{slow.name}-quick")
    os.mkdir(name.path)
    write_text(name.file("security", "encrypt"), "require")
    many = 48  # as many as the rate of one user lets through at once
    before = handshakes(daemon)["admitted"]
    dialler = Child(dial_at_once, slow.dial, many, uid=ALICE)
    wait_for(lambda: held(daemon, ALICE) >= many // 2, "dials that wait")
    since = handshakes(daemon)["admitted"]
    close(name.open_dial(NONBLOCK))
    assert handshakes(daemon)["admitted"] - since < many // 4
    assert dialler.result() == many
    assert handshakes(daemon)["admitted"] - before == many + 1


@pytest.mark.parametrize("text", ['encrypt = "always"\n', "encrypt =", 'colour = "red"\n'])
def test_a_policy_that_cannot_be_read_lets_nobody_through(secured, text):
    name = secured(text)
    with raises_errno(errno.EKEYREJECTED):
        name.open_dial(NONBLOCK)


def test_a_dial_that_waits_for_its_server_was_let_through_before(daemon, secured):
    name = secured('authenticate = "server"\n', "server")
    client = Child(open_once, name.dial, os.O_RDWR)
    daemon.wait_states(alloc_pending=1)
    track(open_once(name.accept, os.O_RDWR))
    client.result()


def test_a_security_folder_that_is_a_link_to_nothing_lets_nobody_through(fresh_daemon, tmp_path):
    """Until what it leads to is there, which may have a policy."""
    os.symlink(tmp_path / "later", tmp_path / "security")
    server = fresh_daemon(f'[daemon]\nsecurity = "{tmp_path}/security"\n').start()
    name = server.name("log")
    os.mkdir(name.path)
    serving = name.open_accept(NONBLOCK)
    with raises_errno(errno.EKEYREJECTED):
        name.open_dial(NONBLOCK)
    assert "it is a link to what is not there" in server.log()
    os.mkdir(tmp_path / "later", mode=0o700)

    def let_through():
        try:
            close(name.open_dial(NONBLOCK))
        except OSError as error:
            assert error.errno == errno.EKEYREJECTED
            return False
        return True
    wait_for(let_through, "the folder to be seen")
    close(serving)
    server.stop()


def test_a_server_without_a_security_folder_asks_nobody(fresh_daemon, tmp_path):
    server = fresh_daemon(f'[daemon]\nsecurity = "{tmp_path}/none"\n').start()
    os.mkdir(server.path("names", "log"))
    name = Name(server, "log")
    close(*name.pair())
    assert handshakes(server) == {"admitted": 0, "refused": 0}
    write_text(name.file("dial_timeout"), "0")
    with raises_errno(errno.ECONNREFUSED):
        name.open_dial()
    server.stop()
