# SPDX-License-Identifier: BSD-3-Clause
"""flowctl perf, ping --mapped and serve --mapped: what they measure, and that nothing wrong passes as a measurement."""

import json
import os
import pty
import re
import signal

import pytest
from flowctl_runs import Run, ping, run, serve, summary  # pylint: disable=unused-import
from harness import binary, close, set_nonblock
from lib import can_map  # pylint: disable=unused-import
from procs import Child, sh, wait_for

MODES = [(), ("--mapped",)]


def perf(daemon, *arguments):
    """The JSON of a run: exit status, result, stderr."""
    code, out, err = Run(daemon.mount, "perf", "--json", *arguments).end(timeout_s=30)
    return code, json.loads(out) if out else None, err


def way(*arguments):
    return [] if "--mapped" in arguments else ["--file"]


# --- what is measured ----------------------------------------------------------------------------

@pytest.mark.parametrize("server", MODES)
@pytest.mark.parametrize("client", [(), ("--spin",), ("--sleep",), ("--file",)])
def test_round_trips_are_counted_and_timed(can_map, daemon, name, serve, server, client):
    serve(*server)
    code, result, err = perf(daemon, name.name, "-c", "200", *client)
    assert (code, err) == (0, "")
    assert (result["sent"], result["received"]) == (200, 200)
    assert (result["lost"], result["out_of_order"], result["altered"]) == (0, 0, 0)
    assert result["mapped"] == ("--file" not in client)
    assert result["msgs_per_s"] > 0
    assert result["bytes_per_s"] == pytest.approx(64 * result["msgs_per_s"])
    times = result["time_us"]
    assert 0 < times["min"] <= times["p50"] <= times["p99"] <= times["p99_9"] <= times["max"]
    assert times["min"] <= times["avg"] <= times["max"]


@pytest.mark.parametrize("client, waiting", [
    ((), "adaptive"), (("--spin",), "spin"), (("--sleep",), "sleep"), (("--file", "--spin"), "sleep")])
def test_it_says_how_an_end_waits(can_map, daemon, name, serve, client, waiting):
    serve("--mapped", *client[-1:] if "--file" not in client else ())
    _, result, _ = perf(daemon, name.name, "-c", "10", *client)
    assert result["waiting"] == waiting


@pytest.mark.parametrize("server", MODES)
@pytest.mark.parametrize("size", [1, 64, 5000, 917504])
def test_every_size_goes_both_ways(can_map, daemon, name, serve, server, size):
    serve(*server)
    code, result, err = perf(daemon, name.name, "-c", "20", "-s", str(size), *way(*server))
    assert (code, err) == (0, "")
    assert (result["received"], result["size_bytes"]) == (20, size)


@pytest.mark.parametrize("server", MODES)
@pytest.mark.parametrize("size", [1, 64, 5000])
def test_one_way_is_over_when_the_sink_has_everything(can_map, run, daemon, name, serve, server, size):
    sink = serve("--sink", "--numbered", "--flows", "1", "--json", *server)
    code, result, err = perf(daemon, name.name, "--one-way", "-c", "3000", "-s", str(size), *way(*server))
    assert (code, err) == (0, "")
    assert (result["shape"], result["sent"], result["lost"]) == ("one-way", 3000, 0)
    assert "time_us" not in result
    code, out, err = sink.end()
    assert (code, err) == (0, "")
    flow = json.loads(out.splitlines()[0])
    assert (flow["messages"], flow["bytes"]) == (3000, 3000 * size)
    assert (flow["lost"], flow["out_of_order"]) == (0, 0)


@pytest.mark.parametrize("server", MODES)
def test_receiving_checks_what_a_source_numbers(can_map, daemon, name, serve, server):
    serve("--source", "--numbered", "--count", "5000", *server)
    code, result, err = perf(daemon, name.name, "--receive", *way(*server))
    assert (code, err) == (0, "")
    assert (result["received"], result["lost"], result["out_of_order"]) == (5000, 0, 0)


def test_receiving_ends_after_its_count(can_map, daemon, name, serve):
    serve("--source", "--numbered", "--mapped")
    code, result, _ = perf(daemon, name.name, "--receive", "-c", "1000")
    assert (code, result["received"]) == (0, 1000)


@pytest.mark.parametrize("server", MODES)
def test_a_rate_is_kept_and_times_count_from_when_a_message_was_due(can_map, daemon, name, serve, server):
    serve(*server)
    code, result, err = perf(daemon, name.name, "-r", "500", "-c", "100", *way(*server))
    assert (code, err) == (0, "")
    assert (result["rate_per_s"], result["received"]) == (500, 100)
    # 99 pauses of 2 ms: no machine makes them shorter
    assert result["elapsed_ms"] >= 198
    assert result["time_us"]["p50"] > 0


def test_a_server_that_stalls_is_not_spared_those_it_kept_waiting(can_map, run, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("perf", name.name, "--json", "-r", "1000", "-c", "300")
    set_nonblock(server, False)
    messages = [os.read(server, 100) for _ in range(300)]
    for message in messages:
        os.write(server, message)
    close(server)
    code, out, err = client.end()
    assert (code, err) == (0, "")
    # The first was due 299 ms before the last was sent, and answered after that.
    assert summary(out)["time_us"]["max"] >= 299_000


def test_a_rate_one_way_tells_how_late_messages_left(can_map, daemon, name, serve):
    serve("--sink", "--mapped")
    code, result, _ = perf(daemon, name.name, "--one-way", "-r", "1000", "-c", "50")
    assert (code, result["sent"]) == (0, 50)
    assert result["time_us"]["max"] > 0


def test_time_ends_it(can_map, daemon, name, serve):
    serve("--mapped")
    code, result, _ = perf(daemon, name.name, "-t", "0.1")
    assert code == 0
    assert result["elapsed_ms"] >= 100
    assert result["received"] == result["sent"] > 0


@pytest.mark.parametrize("server, client, copies", [((), ("--file",), 1), (("--mapped",), (), 2)])
def test_copies_are_those_of_stats(can_map, daemon, name, serve, server, client, copies):
    serve(*server)
    _, result, _ = perf(daemon, name.name, "-c", "50", *client)
    assert (result["copies_sent"], result["copies_received"]) == (copies, copies)


def test_text_says_the_same(can_map, daemon, name, serve):
    serve("--mapped")
    code, out, _ = Run(daemon.mount, "perf", name.name, "-c", "100").end()
    assert code == 0
    assert out.startswith(f"--- {name.name}: round trips of 64 bytes, mapped, adaptive ---\n100 messages in ")
    assert re.search(r"round trip p50/p99/p99\.9/max = [\d.]+/[\d.]+/[\d.]+/[\d.]+ us", out)


def test_progress_is_shown_on_a_terminal_only(can_map, daemon, name, serve):
    serve("--mapped")
    command = f"{binary('flowctl')} perf {name.name} -t 2.2 --json"
    assert sh(command, FLOWFS_MOUNT=daemon.mount).err == ""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.environ["FLOWFS_MOUNT"] = daemon.mount
            os.execl("/bin/sh", "sh", "-c", f"exec {command} >/dev/null")
        finally:
            os._exit(127)
    shown = b""
    try:
        while part := os.read(terminal, 1000):
            shown += part
    except OSError:
        pass  # the terminal's other side is closed
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    assert re.search(rb"1 s +[\d.]+[kMG]? messages +[\d.]+[kMG]?/s", shown)
    assert shown.endswith(b"\r\x1b[K")


# --- what is wrong -------------------------------------------------------------------------------

def test_a_lost_answer_is_an_error(can_map, run, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("perf", name.name, "--json", "-r", "1000", "-c", "3", "--file")
    set_nonblock(server, False)
    messages = [os.read(server, 100) for _ in range(3)]
    os.write(server, messages[0])
    os.write(server, messages[2])
    close(server)
    code, out, _ = client.end()
    assert code == 1
    assert (summary(out)["received"], summary(out)["lost"]) == (2, 1)


def test_answers_out_of_order_are_an_error(can_map, run, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("perf", name.name, "-r", "1000", "-c", "3")
    set_nonblock(server, False)
    for message in reversed([os.read(server, 100) for _ in range(3)]):
        os.write(server, message)
    close(server)
    code, out, _ = client.end()
    assert code == 1
    assert "WRONG: 2 lost, 2 out of order, 0 of another length" in out


@pytest.mark.parametrize("answer", [b"short", b"x" * 65, b"x" * 1000])
def test_an_answer_of_another_length_is_an_error(can_map, run, name, answer):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("perf", name.name, "--json", "-c", "3")
    set_nonblock(server, False)
    os.read(server, 100)
    os.write(server, answer)
    code, out, _ = client.end()
    assert code == 1
    assert summary(out)["altered"] == 1


@pytest.mark.parametrize("server", MODES)
def test_a_source_without_numbers_is_an_error(can_map, daemon, name, serve, server):
    serve("--source", *server)
    code, result, _ = perf(daemon, name.name, "--receive", "-c", "10")
    assert code == 1
    assert result["out_of_order"] + result["lost"] > 0


@pytest.mark.parametrize("server", MODES)
def test_a_server_of_the_wrong_kind_is_told(can_map, daemon, name, serve, server):
    serve("--sink", *server)
    code, result, err = perf(daemon, name.name, "-c", "10", *way(*server))
    assert code == 1
    assert result["received"] == 0
    assert f"serve {name.name} --echo" in err


@pytest.mark.parametrize("server", MODES)
def test_a_sink_tells_what_is_missing(can_map, run, name, serve, server):
    sink = serve("--sink", "--numbered", "--flows", "1", *server)
    client = name.open_dial()
    for number in (1, 2, 5):
        os.write(client, number.to_bytes(8, "little"))
    close(client)
    code, out, err = sink.end()
    assert code == 1
    assert out.startswith("1 flows, 3 messages")
    assert "2 messages lost, 0 out of order" in err


def test_a_silent_server_does_not_keep_it_waiting(can_map, daemon, name):
    for arguments in ((), ("--file",), ("-r", "100", "-c", "3")):
        silent = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
        code, result, err = perf(daemon, name.name, "-W", "0.2", *arguments)
        assert code == 1
        assert f"nothing has moved for 0.2 s; is its server `flowctl serve {name.name} --echo`" in err
        assert result["lost"] == result["sent"] > 0
        close(silent)


def test_a_sink_that_does_not_read_does_not_keep_it_waiting(can_map, daemon, name):
    for arguments in ((), ("--file",)):
        silent = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
        code, _, err = perf(daemon, name.name, "--one-way", "-W", "0.2", *arguments)
        assert code == 1
        assert f"nothing has moved for 0.2 s; is its server `flowctl serve {name.name} --sink`" in err
        close(silent)


def test_a_server_that_leaves_ends_it(can_map, run, name, serve):
    server = serve("--mapped")
    client = run("perf", name.name, "-t", "3600")
    wait_for(lambda: name.stats()["flows"] == "1", "a flow")
    server.end(signal.SIGTERM)
    code, _, err = client.end()
    assert code == 1
    assert "closed the flow" in err


def test_an_interrupt_ends_it_with_the_result(can_map, run, name, serve):
    server = serve("--flows", "1", "-v")
    client = run("perf", name.name, "--json", "-t", "3600", "--file")
    # Messages flow: it is past the beginning.
    wait_for(lambda: int(name.stats()["messages_from_client"]) > 10, "messages")
    code, out, err = client.end(signal.SIGINT)
    assert (code, err) == (0, "")
    assert summary(out)["received"] == summary(out)["sent"] > 10
    assert server.end()[0] == 0


def test_an_interrupt_ends_a_wait_for_a_server(daemon, run, name):
    name.set("dial_timeout", "max")
    client = run("perf", name.name)
    daemon.wait_states(alloc_pending=1)
    code, out, err = client.end(signal.SIGTERM)
    assert (code, out) == (1, "")
    assert "EINTR" in err


def test_errors_of_the_dial_are_explained(daemon, name):
    assert "ENOENT" in perf(daemon, "nobody")[2]
    name.set("dial_timeout", 0)
    code, _, err = perf(daemon, name.name)
    assert code == 1
    assert "ECONNREFUSED" in err and "flowctl serve" in err


def test_more_than_the_mtu_is_an_error(can_map, daemon, name, serve):
    serve("--mapped")
    name.set("mtu", 100)
    for arguments in ((), ("--file",)):
        code, _, err = perf(daemon, name.name, "-c", "1", "-s", "101", *arguments)
        assert code == 1
        assert "EMSGSIZE" in err


@pytest.mark.parametrize("arguments", [
    (), ("bad/name",), ("x", "-s", "0"), ("x", "--one-way", "--receive"), ("x", "--spin", "--sleep"),
    ("x", "--receive", "-r", "5"), ("x", "-r", "0"), ("x", "-t", "0")])
def test_a_wrong_command_line_is_refused(daemon, arguments):
    code, out, err = Run(daemon.mount, "perf", *arguments).end()
    assert (code, out) == (2, "")
    assert err != ""


# --- ping --mapped, serve --mapped ---------------------------------------------------------------

@pytest.mark.parametrize("server", MODES)
def test_ping_goes_through_shared_memory(can_map, daemon, name, serve, server):
    serve(*server)
    code, out, err = ping(daemon, name.name, "--mapped", "-c", "3", "-i", "0.01")
    assert (code, err) == (0, "")
    assert out.startswith(f"PING {name.name}: 56 bytes of data, mapped\n")
    assert "3 messages sent, 3 answered" in out


def test_a_mapped_ping_gives_up_and_is_interrupted(can_map, run, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("ping", name.name, "--mapped", "-c", "2", "-i", "0", "-W", "0.05")
    code, out, _ = client.end()
    assert code == 1
    assert "no answer to seq=2 within 0.05 s" in out
    close(server)
    name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = run("ping", name.name, "--mapped", "-W", "3600")
    client.line()
    code, out, _ = client.end(signal.SIGINT)
    assert code == 1
    assert "0 answered" in out


def test_mapped_roles_serve_clients_that_only_use_files(can_map, name, serve):
    echo = serve("--mapped", "--flows", "1", "-v")
    client = name.open_dial()
    for message in (b"one", bytes(range(256)) * 3000):
        os.write(client, message)
        assert os.read(client, 1_000_000) == message
    close(client)
    code, out, err = echo.end()
    assert code == 0
    assert out.startswith("1 flows, 2 messages, 768003 bytes in ")
    assert " is up: root, pid " in err and " has ended: 2 messages, 768003 bytes" in err


def test_a_mapped_sink_counts_and_a_mapped_source_closes(can_map, name, serve):
    sink = serve("--mapped", "--sink", "--flows", "2")
    sh(f"echo one > {name.dial}; exec 3>{name.dial}; echo two >&3; echo three >&3")
    assert sink.end()[1].startswith("2 flows, 3 messages, 14 bytes in ")
    serve("--mapped", "--source", "--size", "10", "--count", "3")
    assert sh(f"cat {name.dial}").out == "." * 30


def test_a_mapped_source_goes_on_until_the_client_leaves(can_map, name, serve):
    server = serve("--mapped", "--source", "--size", "1000", "--flows", "1")
    assert len(sh(f"head -c 100000 {name.dial}").out) == 100000
    code, out, _ = server.end()
    assert code == 0
    assert int(out.split()[2]) >= 100


def test_a_mapped_server_has_many_flows_at_once(can_map, daemon, name, serve):
    server = serve("--mapped")
    clients = [name.open_dial() for _ in range(20)]
    for number, client in enumerate(clients):
        os.write(client, bytes([number]))
    for number, client in enumerate(clients):
        assert os.read(client, 10) == bytes([number])
    code, out, _ = server.end(signal.SIGTERM)
    assert code == 0
    assert out.startswith("20 flows, 20 messages, 20 bytes in ")
    assert all(os.read(client, 10) == b"" for client in clients)


def test_a_mapped_server_removes_the_name_it_made(can_map, daemon, run):
    server = run("serve", "made", "--mapped")
    assert server.line() == "serving made as echo\n"
    assert os.path.isdir(daemon.path("names", "made"))
    assert server.end(signal.SIGINT)[0] == 0
    assert not os.path.exists(daemon.path("names", "made"))


def test_a_mapped_server_ends_with_the_daemon(can_map, fresh_daemon):
    daemon = fresh_daemon().start()
    server = Run(daemon.mount, "serve", "made", "--mapped")
    assert server.line() == "serving made as echo\n"
    daemon.stop()
    code, _, err = server.end()
    assert code == 1
    assert "start flowfsd again" in err


def test_a_mapped_server_of_somebody_elses_name_says_who_can_change_that(daemon, name):
    child = Child(lambda: Run(daemon.mount, "serve", name.name, "--mapped").end(), uid=4242)
    code, _, err = child.result()
    assert code == 1
    assert "EACCES" in err and "accept" in err
