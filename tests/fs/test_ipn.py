# SPDX-License-Identifier: BSD-3-Clause
"""AF_IPN programs: libflowfs-ipn.so makes buses of their sockets."""

import os
import re
import stat
import subprocess

import pytest
from harness import close, write_text
from ipn import LIBRARY, bus, environment, ipn, script, start  # pylint: disable=unused-import
from procs import wait_for

USER = 61101


def example(name):
    return os.path.join(os.path.dirname(os.environ["FLOWFS_BIN"]), "examples", name)


# --- the programs of examples/ -------------------------------------------------------------------

def test_a_sender_reaches_every_receiver(start, bus):
    sender = start(example("ipn_send"), f"/tmp/{bus.name}")
    wait_for(lambda: os.path.isdir(bus.path) and len(bus.members()) == 1, "the sender's bus")
    receivers = [start(example("ipn_receive"), f"/tmp/{bus.name}", "2") for _ in range(3)]
    bus.wait_members(4)
    assert [one.mode for one in bus.members().values()] == ["w", "r", "r", "r"]
    out, err = sender.communicate("one\nthree\n", timeout=10)
    assert (sender.returncode, out, err) == (0, "", "")
    assert [one.communicate(timeout=10) for one in receivers] == [("4 one\n6 three\n", "")] * 3


def test_a_sender_that_asks_for_it_has_a_lossless_bus(start, bus):
    sender = start(example("ipn_send"), f"/tmp/{bus.name}", "lossless")
    assert sender.communicate("", timeout=10) == ("", "")
    assert bus.get("delivery") == "lossless"
    assert bus.get("depth") == str(128 * 4096)


def test_files_and_sockets_are_members_of_one_bus(start, bus):
    os.mkdir(bus.path)
    receiver = start(example("ipn_receive"), f"{bus.path}/bus", "1")
    reader = bus.reader()
    bus.wait_members(2)
    write_text(bus.bus, "from a shell\n")
    assert receiver.communicate(timeout=10) == ("13 from a shell\n", "")
    assert os.read(reader, 100) == b"from a shell\n"
    close(reader)


def test_without_the_library_there_is_no_such_family(bus):
    plain = subprocess.run([example("ipn_send"), bus.name], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, check=False)
    assert plain.returncode == 1
    assert plain.stderr == "socket: Address family not supported by protocol\n"


# --- which bus a path means ----------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/tmp/{0}", "{0}", "./a/{0}/", "{1}/buses/{0}", "{1}/buses/{0}/bus"])
def test_a_path_means_the_bus_of_its_last_component(ipn, bus, path):
    path = path.format(bus.name, bus.daemon.mount)
    assert ipn(f"fd = made('{path}'); print(os.readlink(f'/proc/self/fd/{{fd}}'))") == [bus.bus]


def test_a_variable_names_the_bus_of_every_other_path(ipn, bus):
    ipn("bind(socket(), '/tmp/whatever')", FLOWFS_IPN_BUS=bus.name)
    assert os.path.isdir(bus.path)


def test_what_names_no_bus_is_refused(ipn):
    ipn("""
        for path in ("", "/", "..", "/tmp/.", "/tmp/a b"):
            with raises_errno(errno.EINVAL):
                bind(socket(), path)
        with raises_errno(errno.EAFNOSUPPORT):
            bind(socket(), "/tmp/x", family=1)
        with raises_errno(errno.ENOENT):
            connect(socket(), "/tmp/nobody-made-it")
        """)


# --- making and managing -------------------------------------------------------------------------

def test_bind_makes_a_bus_as_asked_for(ipn, bus):
    ipn(f"""
        fd = socket()
        for option, value in ((MTU, 2000), (NUMNODES, 7), (POOL, 10), (FLAGS, 1), (MODE, 0o760)):
            set_option(fd, option, value)
            assert get_option(fd, option) == value
        bind(fd, "{bus.name}")
        for option, value in ((MTU, 2000), (NUMNODES, 7), (POOL, 10), (FLAGS, 1), (MODE, 0o740)):
            assert get_option(fd, option) == value
        """)
    assert {name: bus.get(name) for name in ("mtu", "ports", "depth", "delivery", "policy")} == {
        "mtu": "2000", "ports": "7", "depth": "20000", "delivery": "lossless", "policy": "broadcast"}
    assert stat.S_IMODE(os.stat(bus.bus).st_mode) == 0o740


def test_a_bus_that_cannot_be_made_as_asked_for_is_not_made(ipn, bus):
    ipn(f"""
        fd = socket()
        set_option(fd, MTU, 1 << 30)
        with raises_errno(errno.ERANGE):
            bind(fd, "{bus.name}")
        """)
    assert not os.path.exists(bus.path)


def test_the_number_of_ports_changes_afterwards_and_the_rest_does_not(ipn, bus):
    ipn(f"""
        fd = socket()
        with raises_errno(errno.ENOTCONN):
            set_option(fd, CHANGE_NUMNODES, 5)
        bind(fd, "{bus.name}")
        set_option(fd, CHANGE_NUMNODES, 5)
        assert get_option(fd, NUMNODES) == 5
        with raises_errno(errno.EISCONN):
            set_option(fd, MTU, 100)
        with raises_errno(errno.EINVAL):
            bind(fd, "{bus.name}")
        connect(fd)
        set_option(fd, CHANGE_NUMNODES, 1)
        assert get_option(fd, NUMNODES) == 1
        with raises_errno(errno.EADDRNOTAVAIL):
            joined("{bus.name}")
        with raises_errno(errno.EISCONN):
            set_option(fd, FLAGS, 1)
        """)


def test_bind_manages_a_bus_that_is_there_with_x_alone(ipn, bus):
    os.mkdir(bus.path)
    os.chmod(bus.bus, 0o701)
    ipn(f"""
        fd = socket()
        bind(fd, "{bus.name}")
        set_option(fd, CHANGE_NUMNODES, 3)
        with raises_errno(errno.EACCES):
            connect(fd)
        """, uid=USER)
    assert bus.get("ports") == "3"
    os.chmod(bus.bus, 0o706)
    ipn(f"""
        with raises_errno(errno.EACCES):
            bind(socket(), "{bus.name}")
        """, uid=USER)


def test_a_bus_of_another_protocol_is_refused(ipn, bus):
    os.mkdir(bus.path)
    ipn(f"""
        for call in (bind, connect):
            with raises_errno(errno.EPROTOTYPE):
                call(socket(SWITCH), "{bus.name}")
        fd = socket(ANY)
        bind(fd, "{bus.name}")
        connect(fd)
        with raises_errno(errno.EPROTONOSUPPORT):
            bind(socket(ANY), "{bus.name}-2")
        with raises_errno(errno.EPROTONOSUPPORT):
            socket(3)
        with raises_errno(errno.ESOCKTNOSUPPORT):
            socket(kind=numbers.SOCK_STREAM)
        """)
    assert not os.path.exists(f"{bus.path}-2")


# --- joining -------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, flags", [(0o706, "rw"), (0o704, "r"), (0o702, "w")])
def test_connect_drops_the_directions_that_the_mode_denies(bus, start, mode, flags):
    os.mkdir(bus.path)
    os.chmod(bus.bus, mode)
    member = start(*script(f"fd = joined('{bus.name}'); print(1, flush=True); input()"), uid=USER)
    assert member.stdout.readline() == "1\n"
    assert [one.mode for one in bus.members().values()] == [flags]
    assert [one.uid for one in bus.members().values()] == [USER]
    assert member.communicate("\n", timeout=10) == ("", "")


def test_what_a_denied_direction_gives(ipn, bus):
    os.mkdir(bus.path)
    os.chmod(bus.bus, 0o704)
    ipn(f"""
        signal.signal(signal.SIGPIPE, lambda *_: print("SIGPIPE"))
        fd = joined("{bus.name}")
        with raises_errno(errno.EPIPE):
            send(fd, b"x", numbers.MSG_NOSIGNAL)
        """, uid=USER)
    assert ipn(f"""
        signal.signal(signal.SIGPIPE, lambda *_: print("SIGPIPE"))
        fd = joined("{bus.name}")
        with raises_errno(errno.EPIPE):
            send(fd, b"x")
        """, uid=USER) == ["SIGPIPE"]
    os.chmod(bus.bus, 0o702)
    assert ipn(f"print(recv(joined('{bus.name}')))", uid=USER) == ["b''"]


def test_a_direction_that_is_shut_down_before_is_never_joined(ipn, bus):
    ipn(f"""
        sender, receiver, both = socket(), socket(), made("{bus.name}", flags=1, mtu=100, pool=1)
        shutdown(sender, numbers.SHUT_RD)
        bind(sender, "{bus.name}")
        connect(sender, "{bus.name}")
        shutdown(receiver, numbers.SHUT_WR)
        connect(receiver, "{bus.name}")
        with open("{bus.file('members')}", encoding="ascii") as members:
            assert [line.split()[3] for line in members] == ["rw", "w", "r"]
        for number in range(10):  # it would wait if the sender had to read
            assert send(both, b"%d" % number, numbers.MSG_DONTWAIT) == 1
            assert recv(receiver) == b"%d" % number
        assert os.write(sender, b"to both") == 7
        assert recv(both) == recv(receiver) == b"to both"
        with raises_errno(errno.EPIPE):
            send(receiver, b"x", numbers.MSG_NOSIGNAL)
        assert recv(sender) == b""
        neither = socket()
        shutdown(neither, numbers.SHUT_WR)
        shutdown(os.dup(neither), numbers.SHUT_RD)
        with raises_errno(errno.EACCES):
            connect(neither, "{bus.name}")
        with raises_errno(errno.EINVAL):
            shutdown(socket(), 3)
        """)


def test_peers_who_all_bind_are_members_alike(bus, start):
    os.mkdir(bus.path)
    peers = [start(*script(f"fd = made('{bus.name}'); print(1, flush=True); print(recv(fd), recv(fd))"))
             for _ in range(2)]
    assert [one.stdout.readline() for one in peers] == ["1\n"] * 2
    last = start(*script(f"fd = made('{bus.name}'); send(fd, b'one'); send(fd, b'two')"))
    assert last.communicate(timeout=10) == ("", "")
    assert [one.communicate(timeout=10) for one in peers] == [("b'one' b'two'\n", "")] * 2


def test_flags_of_the_socket_are_those_of_the_member(ipn, bus):
    ipn(f"""
        import fcntl
        fd = socket(kind=numbers.SOCK_RAW | numbers.SOCK_NONBLOCK | numbers.SOCK_CLOEXEC)
        assert fcntl.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
        bind(fd, "{bus.name}")
        connect(fd)
        assert fcntl.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
        with raises_errno(errno.EAGAIN):
            recv(fd)
        plain = joined("{bus.name}")
        assert fcntl.fcntl(plain, fcntl.F_GETFD) == 0
        assert os.get_blocking(plain)
        """)


def test_a_dup_of_a_socket_is_the_same_socket(ipn, bus):
    ipn(f"""
        fd = socket()
        twin = os.dup(fd)
        set_option(fd, NUMNODES, 9)
        assert get_option(twin, NUMNODES) == 9
        os.close(fd)
        bind(twin, "{bus.name}")
        connect(twin)
        other = os.dup(twin)
        os.close(twin)
        assert get_option(other, NUMNODES) == 9
        assert send(other, b"x") == 1
        """)


def test_a_socket_that_is_not_connected_is_one_for_the_kernel(ipn, bus):
    ipn(f"""
        fd = socket()
        for call in (lambda: send(fd, b"x", numbers.MSG_NOSIGNAL), lambda: recv(fd),
                     lambda: os.read(fd, 1), lambda: os.write(fd, b"x")):
            with raises_errno(errno.ENOTCONN):
                call()
        with raises_errno(errno.EDESTADDRREQ):
            connect(fd)
        connected = made("{bus.name}")
        with raises_errno(errno.EISCONN):
            connect(connected, "{bus.name}")
        with raises_errno(errno.EINVAL):
            bind(connected, "{bus.name}")
        os.close(fd)
        again = os.open("/dev/null", os.O_RDWR)
        assert again == fd
        with raises_errno(errno.ENOTSOCK):
            bind(again, "{bus.name}")
        """)


def test_other_sockets_and_files_are_left_alone(ipn, bus):
    ipn(f"""
        member, waiting = made("{bus.name}"), socket()
        import socket as real
        one, two = real.socketpair()
        one.send(b"x")
        assert two.recv(5) == b"x"
        one.shutdown(real.SHUT_WR)
        assert two.recv(5) == b""
        assert one.getsockopt(real.SOL_SOCKET, real.SO_TYPE) == real.SOCK_STREAM
        server = real.create_server(("127.0.0.1", 0))
        client = real.create_connection(server.getsockname())
        client.setsockopt(real.IPPROTO_IP, real.IP_TTL, 3)
        assert client.getsockopt(real.IPPROTO_IP, real.IP_TTL) == 3
        receive, give = os.pipe()
        for call in (lambda: send(give, b"x"), lambda: recv(receive), lambda: shutdown(give, 1),
                     lambda: get_option(give, MTU), lambda: connect(give, "{bus.name}")):
            with raises_errno(errno.ENOTSOCK):
                call()
        with raises_errno(errno.EBADF):
            send(1234, b"x")
        """)


# --- messages ------------------------------------------------------------------------------------

def test_every_call_that_sends_and_receives(ipn, bus):
    ipn(f"""
        one, two = made("{bus.name}"), joined("{bus.name}")
        assert send(one, b"send") == 4
        assert sendto(one, b"sendto") == 6
        assert sendmsg(one, b"send", b"", b"msg") == 7
        assert os.write(one, b"write") == 5
        assert recv(two) == b"send"
        assert recvfrom(two) == (b"sendto", 0)
        assert recvmsg(two, 3, 100) == b"sendmsg"
        assert os.read(two, 100) == b"write"
        with raises_errno(errno.EAGAIN):
            recv(one, numbers.MSG_DONTWAIT)
        with raises_errno(errno.EISCONN):
            sendto(one, b"x", "{bus.name}")
        for flag in (numbers.MSG_OOB, numbers.MSG_PEEK):
            with raises_errno(errno.EOPNOTSUPP):
                recv(one, flag)
        with raises_errno(errno.EOPNOTSUPP):
            send(one, b"x", numbers.MSG_OOB)
        """)


def test_poll_and_select_see_a_member_as_they_see_a_socket(ipn, bus):
    ipn(f"""
        one, two = made("{bus.name}"), joined("{bus.name}")
        assert select.select([two], [one], [], 0) == ([], [one], [])
        send(one, b"x")
        assert select.select([two], [], [], 10) == ([two], [], [])
        poll = select.poll()
        poll.register(two, select.POLLIN | select.POLLOUT)
        assert poll.poll(0) == [(two, select.POLLIN | select.POLLOUT)]
        """)


def test_a_full_lossless_bus_refuses_who_will_not_wait(ipn, bus):
    ipn(f"""
        one = made("{bus.name}", flags=1, mtu=1000, pool=4)
        two = joined("{bus.name}")
        sent = 0
        try:
            while True:
                sent += send(one, bytes(1000), numbers.MSG_DONTWAIT) // 1000
        except BlockingIOError:
            pass
        assert 1 <= sent <= 4
        with raises_errno(errno.EMSGSIZE):
            send(one, bytes(1001))
        for _ in range(sent):
            assert len(recv(two)) == 1000
        assert send(one, b"again", numbers.MSG_DONTWAIT) == 5
        """)


def test_shutdown_gives_up_a_direction(ipn, bus):
    ipn(f"""
        one, two = made("{bus.name}"), joined("{bus.name}")
        shutdown(two, numbers.SHUT_WR)
        with raises_errno(errno.EPIPE):
            send(two, b"x", numbers.MSG_NOSIGNAL)
        send(one, b"to a receiver")
        assert recv(two) == b"to a receiver"
        shutdown(two, numbers.SHUT_WR)
        shutdown(one, numbers.SHUT_RD)
        assert recv(one) == b""
        send(one, b"still")
        assert recv(two) == b"still"
        with raises_errno(errno.EINVAL):
            shutdown(one, 7)
        shutdown(one, numbers.SHUT_WR)
        assert (recv(one), os.read(one, 1)) == (b"", b"")
        with raises_errno(errno.EPIPE):
            send(one, b"x", numbers.MSG_NOSIGNAL)
        shutdown(two, numbers.SHUT_RDWR)
        shutdown(two, numbers.SHUT_RDWR)
        assert select.select([two], [], [], 0) == ([two], [], [])
        assert (get_option(one, PORT), get_option(two, PORT)) == (-1, -1)
        """)
    bus.wait_members(0)


def test_a_member_that_shuts_down_stays_the_same_member(ipn, bus):
    ipn(f"""
        signal.signal(signal.SIGPIPE, lambda *_: print("SIGPIPE"))
        one, two = made("{bus.name}"), joined("{bus.name}")
        port = get_option(two, PORT)
        send(one, b"before")
        shutdown(two, numbers.SHUT_WR)
        assert get_option(two, PORT) == port
        assert recv(two) == b"before"
        with raises_errno(errno.EPIPE):
            os.write(two, b"x")
        """)
    assert ipn(f"""
        signal.signal(signal.SIGPIPE, lambda *_: print("SIGPIPE"))
        two = joined("{bus.name}")
        shutdown(two, numbers.SHUT_WR)
        with raises_errno(errno.EPIPE):
            send(two, b"x")
        """) == ["SIGPIPE"]


def test_a_member_answers_as_a_socket(ipn, bus):
    ipn(f"""
        one = made("{bus.name}")
        assert get_option(one, numbers.SO_TYPE, numbers.SOL_SOCKET) == numbers.SOCK_RAW
        assert get_option(one, numbers.SO_DOMAIN, numbers.SOL_SOCKET) == AF_IPN
        assert get_option(one, numbers.SO_PROTOCOL, numbers.SOL_SOCKET) == BROADCAST
        assert get_option(one, numbers.SO_ERROR, numbers.SOL_SOCKET) == 0
        two = joined("{bus.name}")
        assert get_option(one, PORT) != get_option(two, PORT)
        assert get_option(socket(), PORT) == -1
        set_option(socket(), PORT, -1)
        with raises_errno(errno.EADDRNOTAVAIL):
            set_option(socket(), PORT, 4)
        for option, level in ((numbers.SO_RCVBUF, numbers.SOL_SOCKET), (1, 0), (MTU, 41)):
            with raises_errno(errno.ENOPROTOOPT):
                get_option(one, option, level)
            with raises_errno(errno.ENOPROTOOPT):
                set_option(one, option, 1, 41 if option == MTU else level)
        for option, value in ((MTU, 0), (NUMNODES, -1), (FLAGS, 2), (MODE, 0o1000)):
            with raises_errno(errno.EINVAL):
                set_option(socket(), option, value)
        """)


def test_a_child_and_what_it_executes_keep_the_membership(ipn, bus):
    assert ipn(f"""
        import subprocess
        one, two = made("{bus.name}"), joined("{bus.name}")
        os.set_inheritable(two, True)
        send(one, b"hello")
        subprocess.run(["head", "-c", "5"], stdin=two, check=True)
        """) == ["hello"]


# --- the library itself --------------------------------------------------------------------------

def test_nothing_else_is_interposed():
    symbols = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True,
                             check=True).stdout
    functions = set(re.findall(r" T (\S+)", symbols))
    assert functions == {"socket", "bind", "connect", "shutdown", "getsockopt", "setsockopt", "send",
                         "sendto", "sendmsg", "recv", "recvfrom", "recvmsg", "__recv_chk",
                         "__recvfrom_chk"}
    assert not re.findall(r" [BDRW] (\S+)", symbols)


def test_a_program_that_knows_nothing_of_it_runs_as_before(daemon):
    done = subprocess.run(["bash", "-c", "echo hello | cat"], env=environment(daemon),
                          capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("hello\n", "")
