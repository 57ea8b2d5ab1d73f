# SPDX-License-Identifier: BSD-3-Clause
"""flowctl serve and ping: the two ends of a flow, and how each of them ends."""

import json
import os
import select
import signal
import stat
import subprocess

import pytest
from flowctl_runs import Run, ping, run, serve, summary  # pylint: disable=unused-import
from harness import binary, set_nonblock, track
from procs import Child, as_user, sh, wait_blocked, wait_for


def test_three_round_trips_look_like_ping(daemon, name, serve):
    serve("--echo")
    code, out, err = ping(daemon, name.name, "-c", "3", "-i", "0.01")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == f"PING {name.name}: 56 bytes of data"
    for number, line in enumerate(lines[1:4], 1):
        assert line.startswith(f"56 bytes from {name.name}: seq={number} time=")
    assert "3 messages sent, 3 answered, 0% unanswered" in out
    assert "rtt min/avg/p50/p99/max = " in out


def test_ping_in_json_is_a_line_each(daemon, name, serve):
    serve()
    code, out, _ = ping(daemon, name.name, "--json", "-c", "2", "-i", "0", "-s", "1")
    replies = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [reply["type"] for reply in replies] == ["reply", "reply", "summary"]
    assert [reply["seq"] for reply in replies[:2]] == [1, 2]
    assert replies[0]["bytes"] == 1
    times = replies[2]["rtt_us"]
    assert 0 < times["min"] <= times["p50"] <= times["p99"] <= times["max"]


@pytest.mark.parametrize("size", [1, 4096, 65536, 917504])
def test_every_size_comes_back_whole(daemon, name, serve, size):
    serve()
    code, out, err = ping(daemon, name.name, "--json", "-c", "5", "--flood", "-s", str(size))
    assert code == 0, err
    assert (summary(out)["answered"], summary(out)["altered"]) == (5, 0)


def test_a_flood_prints_the_summary_alone(daemon, name, serve):
    serve()
    code, out, _ = ping(daemon, name.name, "--flood", "-c", "500")
    assert code == 0
    assert len(out.splitlines()) == 5
    assert "500 messages sent, 500 answered" in out


def test_a_name_that_asks_for_files_is_said_to(daemon, name, serve):
    name.set("direct", 0)
    serve("--mapped")
    code, _, err = ping(daemon, name.name, "--mapped", "-c", "1")
    assert (code, err) == (0, f"flowctl: names/{name.name} goes through files: "
                              "it asks for that in its file `direct`\n")


def test_more_than_the_mtu_is_an_error(daemon, name, serve):
    serve()
    name.set("mtu", 100)
    code, _, err = ping(daemon, name.name, "-c", "1", "-s", "101")
    assert code == 2
    assert "EMSGSIZE" in err and "mtu" in err


def test_no_such_name_is_an_error(daemon):
    code, _, err = ping(daemon, "nobody", "-c", "1")
    assert code == 2
    assert "names/nobody" in err and "ENOENT" in err and "flowctl status" in err


def test_nobody_accepting_is_no_answer(daemon, name):
    name.set("dial_timeout", 0)
    code, _, err = ping(daemon, name.name, "-c", "1")
    assert code == 1
    assert "ECONNREFUSED" in err
    name.set("dial_timeout", 20000)
    code, _, err = ping(daemon, name.name, "-c", "1")
    assert code == 1
    assert "ETIMEDOUT" in err


def test_a_server_that_only_receives_is_no_answer(daemon, name, serve):
    serve("--sink")
    code, _, err = ping(daemon, name.name, "-c", "1")
    assert code == 1
    assert "closed the flow" in err


def test_a_silent_server_is_no_answer(daemon, name):
    silent = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    code, out, _ = ping(daemon, name.name, "-c", "2", "-i", "0", "-W", "0.05")
    assert code == 1
    assert "no answer to seq=2 within 0.05 s" in out
    assert "2 messages sent, 0 answered, 100% unanswered" in out
    assert os.read(silent, 100)


def test_a_late_answer_is_told_and_counted(run, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("ping", name.name, "-c", "2", "-i", "1", "-W", "0.5")
    assert client.line() == f"PING {name.name}: 56 bytes of data\n"
    assert client.line() == "no answer to seq=1 within 0.5 s\n"
    set_nonblock(server, False)
    os.write(server, os.read(server, 100))
    line = client.line()
    assert line.startswith(f"56 bytes from {name.name}: seq=1 time=") and line.endswith("(late)\n")
    os.write(server, os.read(server, 100))
    code, out, _ = client.end()
    assert code == 0
    assert "2 messages sent, 2 answered, 0% unanswered" in out


def test_an_altered_answer_is_told(run, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("ping", name.name, "-c", "1")
    client.line()
    set_nonblock(server, False)
    os.read(server, 100)
    os.write(server, b"what?")
    code, out, _ = client.end()
    assert code == 0
    assert f"5 bytes from {name.name}: seq=1 " in out and "(altered)" in out
    assert "1 answers altered: not an echo server?" in out


def test_an_interrupt_ends_with_the_summary(run, name, serve):
    serve()
    client = run("ping", name.name, "-i", "3600")
    client.line()
    client.line()
    code, out, _ = client.end(signal.SIGINT)
    assert code == 0
    assert "1 messages sent, 1 answered" in out


def test_an_interrupt_ends_a_wait_for_an_answer(daemon, run, name):
    name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("ping", name.name, "-W", "3600")
    client.line()
    wait_blocked(client.process.pid, "read")
    code, out, _ = client.end(signal.SIGINT)
    assert code == 1
    assert "1 messages sent, 0 answered" in out
    assert daemon.process.poll() is None


def test_an_interrupt_ends_a_wait_for_a_server(run, name):
    name.set("dial_timeout", "max")
    client = run("ping", name.name)
    wait_blocked(client.process.pid, "openat")
    assert client.end(signal.SIGTERM)[0] == 1


def test_a_server_that_ends_ends_the_ping(run, name, serve):
    server = serve()
    client = run("ping", name.name, "-i", "3600", "-c", "2")
    client.line()
    client.line()
    server.end(signal.SIGTERM)
    code, _, err = client.end()
    assert code == 1
    assert "closed the flow" in err


# --- serve ---------------------------------------------------------------------------------------
def test_serve_makes_a_missing_name_and_removes_it(daemon, run):
    server = run("serve", "made", "--mode", "0722")
    assert server.line() == "serving made as echo\n"
    path = daemon.path("names", "made")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o722
    assert stat.S_IMODE(os.stat(f"{path}/dial").st_mode) == 0o666
    code, out, err = server.end(signal.SIGINT)
    assert code == 0, err
    assert out.startswith("0 flows, 0 messages, 0 bytes")
    assert not os.path.exists(path)


def test_a_name_made_with_0733_is_everybodys_to_dial(daemon, run):
    server = run("serve", "made", "--mode", "0733")
    server.line()

    def exchange():
        fd = os.open(daemon.path("names", "made", "dial"), os.O_RDWR)
        os.write(fd, b"from a stranger")
        return os.read(fd, 100)
    assert as_user(61001, exchange) == b"from a stranger"
    assert server.end(signal.SIGINT)[0] == 0


def test_serve_leaves_a_name_that_was_there(name, serve):
    assert serve().end(signal.SIGTERM)[0] == 0
    assert os.path.isdir(name.path)


def test_serve_removes_its_name_under_clients_that_leave(daemon, run):
    server = run("serve", "made")
    server.line()
    client = Child(lambda: sh(f"cat 0<>{daemon.path('names', 'made', 'dial')}").out)
    wait_for(lambda: "allocated" in daemon.flow_states().values(), "a flow")
    code, _, err = server.end(signal.SIGTERM)
    assert code == 0, err
    assert client.result() == ""
    assert not os.path.exists(daemon.path("names", "made"))


def test_serve_says_that_a_name_stays_because_of_a_client(daemon, run):
    server = run("serve", "made")
    server.line()
    client = track(os.open(daemon.path("names", "made", "dial"), os.O_RDWR))
    code, _, err = server.end(signal.SIGTERM)
    assert code == 1
    assert "cannot remove names/made" in err and "EBUSY" in err and "flow of it is alive" in err
    assert os.read(client, 10) == b""


def test_serve_echoes_many_flows_at_once(name, serve):
    serve()
    clients = [name.open_dial() for _ in range(60)]
    for index, client in enumerate(clients):
        os.write(client, b"first of %d" % index)
        os.write(client, b"second of %d" % index)
    for index, client in reversed(list(enumerate(clients))):
        assert os.read(client, 100) == b"first of %d" % index
        assert os.read(client, 100) == b"second of %d" % index


def test_a_client_that_does_not_read_holds_up_nobody(daemon, name, serve):
    name.set("depth", 4096)
    serve()
    stubborn = name.open_dial()
    set_nonblock(stubborn)
    message = b"x" * 1000
    sent = 0
    poller = select.poll()
    poller.register(stubborn, select.POLLOUT)
    while poller.poll(300):
        try:
            os.write(stubborn, message)
            sent += 1
        except BlockingIOError:
            pass
    assert sent >= 4, "as much as one direction holds"
    assert ping(daemon, name.name, "-c", "3", "-i", "0")[0] == 0
    set_nonblock(stubborn, False)
    assert all(os.read(stubborn, 5000) == message for _ in range(sent))


def test_sink_counts(name, serve):
    server = serve("--sink", "--flows", "2")
    sh(f"echo one > {name.dial}; exec 3>{name.dial}; echo two >&3; echo three >&3")
    code, out, _ = server.end()
    assert code == 0
    assert out.startswith("2 flows, 3 messages, 14 bytes in ")


def test_source_sends_and_closes(name, serve):
    serve("--source", "--size", "10", "--count", "3")
    assert sh(f"cat {name.dial}").out == "." * 30


def test_source_goes_on_until_the_client_leaves(name, serve):
    server = serve("--source", "--size", "1000", "--flows", "1")
    assert len(sh(f"head -c 100000 {name.dial}").out) == 100000
    code, out, _ = server.end()
    assert code == 0
    assert int(out.split()[2]) >= 100


def test_count_closes_a_flow_of_an_echo_server(name, serve):
    serve("--count", "2")
    client = name.open_dial()
    for text in (b"one", b"two"):
        os.write(client, text)
        assert os.read(client, 10) == text
    assert os.read(client, 10) == b""


def test_serve_says_who_comes_and_goes(run, name):
    server = run("serve", name.name, "-v", "--flows", "1")
    server.line()
    sh(f"echo hello > {name.dial}")
    code, _, err = server.end()
    assert code == 0
    assert " is up: root, pid " in err
    assert " has ended: 1 messages, 6 bytes" in err


def test_serve_in_json(run, name):
    server = run("serve", name.name, "--sink", "--json", "--flows", "1")
    assert json.loads(server.line()) == {"type": "serving", "name": name.name, "role": "sink"}
    sh(f"echo hello > {name.dial}")
    flow, total = map(json.loads, server.end()[1].splitlines())
    assert (flow["type"], flow["messages"], flow["bytes"]) == ("flow", 1, 6)
    assert (total["type"], total["flows"], total["messages"]) == ("summary", 1, 1)


def test_serve_of_somebody_elses_name_says_who_can_change_that(daemon, name):
    child = Child(lambda: Run(daemon.mount, "serve", name.name).end(), uid=4242)
    code, _, err = child.result()
    assert code == 1
    assert "EACCES" in err and "accept" in err
    assert os.path.isdir(name.path)


@pytest.mark.parametrize("arguments", [
    ("bad/name",), (".hidden",), ("x", "--size", "10"), ("x", "--mode", "99"), ("x", "--mode", "a"),
    ("x", "--echo", "--sink"), ("x", "--source", "--size", "0"), ()])
def test_serve_refuses_a_wrong_command_line(daemon, arguments):
    code, _, err = Run(daemon.mount, "serve", *arguments).end()
    assert code == 2
    assert err != ""
    assert os.listdir(daemon.path("names")) == []


def test_serve_ends_with_the_daemon(fresh_daemon):
    daemon = fresh_daemon().start()
    server = Run(daemon.mount, "serve", "made")
    assert server.line() == "serving made as echo\n"
    client = track(os.open(daemon.path("names", "made", "dial"), os.O_RDWR))
    wait_for(lambda: len(daemon.flow_states()) > 2, "waiting servers")
    daemon.stop()
    os.close(client)
    code, _, err = server.end()
    assert code == 1
    assert "start flowfsd again" in err
