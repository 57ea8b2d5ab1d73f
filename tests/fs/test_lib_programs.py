# SPDX-License-Identifier: BSD-3-Clause
"""Programs that link libflowfs: traffic both ways at once, the examples, what the library exports."""

import os
import random
import re
import subprocess
import threading

import pytest
from harness import close, is_sanitized, program, read_text
from lib import FILE, LIBRARY, MODES, NO_POOL, ROOT, can_map, seeds  # pylint: disable=unused-import


# --- programs that send and receive at once -----------------------------------------------------

def traffic(name, client, server, count, longest, way="copied"):
    seed = next(seeds) * 1000
    ends = []
    for role, flags in (("accept", server), ("dial", client)):
        ends.append(subprocess.Popen(
            [program("lib_traffic"), name.daemon.mount, name.name, role, str(seed), str(count),
             str(longest), str(flags), way], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    answers = [end.communicate(timeout=120) for end in ends]
    for end, (_, errors) in zip(ends, answers):
        assert end.returncode == 0, f"seed {seed}: {[text for _, text in answers]}"
        assert errors == ""
    return [output.strip() for output, _ in answers]


@pytest.mark.deadline(150)
@pytest.mark.parametrize("way", ["copied", "placed"])
@pytest.mark.parametrize("client,server", MODES + [(NO_POOL, NO_POOL)])
@pytest.mark.parametrize("longest,count", [(200, 20000), (20000, 4000), (917504, 150)])
def test_both_directions_keep_order_and_content(can_map, name, client, server, longest, count, way):
    if is_sanitized():
        count //= 10
    modes = traffic(name, client, server, count, longest, way)
    assert modes == ["file" if flags & FILE else "mapped" for flags in (server, client)]


@pytest.mark.deadline(150)
@pytest.mark.parametrize("spin", [2, 4], ids=["never", "always"])
def test_sleeping_at_once_and_never_lose_nothing(can_map, name, spin):
    count = 2000 if is_sanitized() else 20000
    assert traffic(name, spin, spin, count, 5000) == ["mapped", "mapped"]


# --- the examples and what is installed ----------------------------------------------------------

def example(name):
    return os.path.join(os.path.dirname(os.environ["FLOWFS_BIN"]), "examples", name)


def test_the_echo_server_answers(can_map, daemon, name):
    server = subprocess.Popen([example("echo_server"), name.name, daemon.mount])
    client = name.open_dial()
    for message in (b"one", bytes(range(256)) * 3000):
        os.write(client, message)
        assert os.read(client, 1_000_000) == message
    close(client)
    assert server.wait(10) == 0


def test_the_file_copy_copies(can_map, daemon, name):
    content = random.Random(7).randbytes(3_000_000)
    receiver = subprocess.Popen([example("file_copy"), "receive", name.name, daemon.mount],
                                stdout=subprocess.PIPE)
    sender = subprocess.Popen([example("file_copy"), "send", name.name, daemon.mount],
                              stdin=subprocess.PIPE)
    feeding = threading.Thread(target=sender.communicate, args=(content,))
    feeding.start()
    assert receiver.communicate(timeout=20)[0] == content
    feeding.join()
    assert (sender.returncode, receiver.returncode) == (0, 0)


def test_frames_go_from_the_producer_to_the_consumer(can_map, daemon, name):
    consumer = subprocess.Popen([example("frame_consumer"), name.name, daemon.mount],
                                stdout=subprocess.PIPE, text=True)
    producer = subprocess.run([example("frame_producer"), name.name, "200", daemon.mount],
                              timeout=30, check=False)
    assert producer.returncode == 0
    assert consumer.communicate(timeout=10)[0] == "200 frames, total difference 199\n"


def start_ready(*command):
    """A program that says when it is."""
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "ready\n"
    return started


def test_frames_of_a_bus_are_shown_whole(daemon, bus):
    viewers = [start_ready(example("bus_frames"), "show", bus.name, "60", daemon.mount)
               for _ in range(3)]
    subprocess.run([example("bus_frames"), "produce", bus.name, "600000", "60", daemon.mount],
                   timeout=30, check=True)
    for viewer in viewers:
        shown = re.fullmatch(r"(\d+) shown, \d+ torn, 0 wrong\n", viewer.communicate(timeout=20)[0])
        assert shown and int(shown[1]) > 0 and viewer.returncode == 0


def test_every_period_of_a_sound_is_heard(daemon, bus):
    listeners = [start_ready(example("audio_periods"), "listen", bus.name, "300", daemon.mount)
                 for _ in range(2)]
    subprocess.run([example("audio_periods"), "play", bus.name, "300", daemon.mount], timeout=30,
                   check=True)
    for listener in listeners:
        assert listener.communicate(timeout=20)[0] == "300 heard, 0 missed, 0 samples wrong\n"
        assert listener.returncode == 0


def test_the_epoll_server_serves_many(can_map, daemon, name):
    server = subprocess.Popen([example("epoll_server"), name.name, "6", daemon.mount])
    clients = [name.open_dial() for _ in range(5)]
    for number in range(50):
        for client in clients:
            os.write(client, b"%d" % number)
        for client in clients:
            assert os.read(client, 100) == b"%d" % number
    last = name.open_dial()
    close(*clients)
    os.write(last, bytes(500_000))
    assert os.read(last, 1_000_000) == bytes(500_000)
    close(last)
    assert server.wait(10) == 0


def test_nothing_but_the_c_abi_is_exported():
    lines = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines} - {"FLOWFS_0"}
    header = read_text(os.path.join(ROOT, "include", "flowfs", "flowfs.h"))
    assert names == set(re.findall(r"\b(flowfs_\w+)\(", header.split("extern \"C\" {")[1]))
    dynamic = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True)
    assert "soname: [libflowfs.so.0]" in dynamic.stdout
