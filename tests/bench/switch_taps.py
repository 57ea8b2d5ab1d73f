# SPDX-License-Identifier: BSD-3-Clause
"""switch_taps.py MOUNT [ROUNDS [SCALE]]: two network namespaces over TAPs of one switch bus.

TCP by iperf3 and the round trips of ping, beside the same over a vde_switch and over the kernel's
bridge with veth: in each round one after the other. Prints a JSON list of results. A `plain` network
carries no segment longer than a frame, and every frame with its checksum. Needs root.
"""

import array
import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile

import results
import sysc
from buses import Bus
from frames import Lab, wait_answer
from procs import sh, wait_for

TCP_SECONDS = 2
TCP_BYTES = 2 << 30  # of the short form, before the scale
PINGS = 300
TCP = {"metric": "bytes_per_s", "size": 1500}
AGAIN = {"metric": "retransmissions", "size": 1500}
PING = {"metric": "rtt_p50_us", "size": 84}  # with its headers

SIOCETHTOOL = 0x8946
# Checksums in and out, segments of TCP and of others, and joining what comes in.
OFFLOADS = (0x15, 0x17, 0x1f, 0x24, 0x2c)


class Missing(Exception):
    """Why a network cannot be had here."""


class Network:
    """A way between the two namespaces, and what was measured on it."""

    def __init__(self, name, number):
        self.name, self.missing = name, ""
        self.near, self.far = (f"10.98.{number}.{host}" for host in (1, 2))
        self.rates, self.again, self.pings = [], [], []


class Networks:
    """All of them between the same two namespaces."""

    def __init__(self, mount):
        self.mount, self.lab = mount, Lab()
        self.hosts, self.buses, self.switches, self.all = [], [], [], {}

    def path(self, *parts):
        """Of the mounted tree."""
        return os.path.join(self.mount, *parts)

    def make(self):
        self.hosts = [self.lab.namespace(), self.lab.namespace()]
        makers = {"switch_taps": self.bus, "switch_taps_plain": self.plain_bus, "vde_switch": self.vde,
                  "kernel_bridge": self.bridge, "kernel_bridge_plain": self.plain_bridge}
        for number, (name, make) in enumerate(makers.items()):
            self.all[name] = self.connect(Network(name, number), make)

    def connect(self, network, make):
        try:
            interfaces = make()
        except Missing as why:
            network.missing = str(why)
            return network
        for host, interface, address in zip(self.hosts, interfaces, (network.near, network.far)):
            self.lab.move(interface, host, address)
        wait_answer(self.hosts[0], network.far)
        return network

    def close(self):
        """Nothing is left, whatever was made so far."""
        for switch, folder in self.switches:
            switch.kill()
            switch.wait()
            shutil.rmtree(folder)
        self.lab.close()
        for bus in self.buses:
            wait_for(lambda bus=bus: not bus.members(), "no member")
            os.rmdir(bus.path)

    # --- two interfaces that are connected ---

    def bus(self):
        bus = Bus(self, self.lab.name("b"))
        os.mkdir(bus.path)
        self.buses.append(bus)
        bus.set("policy", "switch")
        taps = [self.lab.name("t") for _ in self.hosts]
        for tap in taps:
            self.lab.attach(bus, "tap", tap)
        return taps

    def plain_bus(self):
        return made_plain(self.bus())

    def vde(self):
        program = shutil.which("vde_switch", path="/usr/bin:/usr/sbin")
        if program is None:
            raise Missing("vde_switch is not installed (vde2)")
        taps = [self.lab.name("t") for _ in self.hosts]
        folder = tempfile.mkdtemp(prefix="flowfs-bench-")
        # It ends with its standard input.
        switch = subprocess.Popen(
            [program, "-sock", f"{folder}/switch", *(word for tap in taps for word in ("-tap", tap))],
            stdin=subprocess.PIPE, stdout=sys.stderr, preexec_fn=lambda: sysc.set_pdeathsig(signal.SIGKILL))
        self.switches.append((switch, folder))
        wait_for(lambda: all(os.path.exists(f"/sys/class/net/{tap}") for tap in taps), "the TAPs of vde_switch")
        return taps

    def bridge(self):
        middle = self.lab.namespace()
        if sh(f"ip -n {middle} link add middle type bridge && ip -n {middle} link set middle up", check=False).status:
            raise Missing("this kernel has no bridge")
        pairs = [self.lab.veth() for _ in self.hosts]
        for _, inner in pairs:
            sh(f"ip link set {inner} netns {middle} && ip -n {middle} link set {inner} master middle up")
        return [outer for outer, _ in pairs]

    def plain_bridge(self):
        return made_plain(self.bridge())


def made_plain(interfaces):
    """Without anything that an interface takes over from the kernel, also in another namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for interface in interfaces:
            for command in OFFLOADS:
                value = array.array("I", [command, 0])
                request = struct.pack("16sP8x", interface.encode(), value.buffer_info()[0])
                try:
                    fcntl.ioctl(any_socket, SIOCETHTOOL, request)
                except OSError as error:
                    if error.errno != errno.EOPNOTSUPP:  # it has never had that
                        raise
    return interfaces


# --- measuring -------------------------------------------------------------------------------------

@contextlib.contextmanager
def listening(host):
    """An iperf3 that serves one client."""
    command = ["ip", "netns", "exec", host, "iperf3", "-s", "-1", "--forceflush"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, preexec_fn=lambda: sysc.set_pdeathsig(signal.SIGKILL)) as server:
        try:
            said = ""
            while "listening" not in said:
                said = server.stdout.readline()
                if not said:
                    raise AssertionError("iperf3 -s ended")
            yield
        finally:
            server.kill()


def tcp(near, far, address, scale):
    """Bytes a second, and what had to be sent again for each of those seconds."""
    length = f"-t {TCP_SECONDS}" if scale == 1 else f"-n {TCP_BYTES // scale}"
    with listening(far):
        done = json.loads(sh(f"ip netns exec {near} iperf3 -c {address} -J {length}", timeout_s=120).out)["end"]
    return done["sum_received"]["bits_per_second"] / 8, done["sum_sent"]["retransmits"] / done["sum_sent"]["seconds"]


def ping(near, address, scale):
    """Median, in microseconds."""
    count = max(PINGS // scale, 5)
    out = sh(f"ip netns exec {near} ping -c {count} -i 0.002 {address}", timeout_s=60).out
    return 1000 * statistics.median(float(time) for time in re.findall(r"time=([0-9.]+) ms", out))


def measure(networks, rounds, scale):
    near, far = networks.hosts
    for _ in range(rounds):
        for network in networks.all.values():
            if not network.missing:
                rate, again = tcp(near, far, network.far, scale)
                network.rates.append(rate)
                network.again.append(again)
                network.pings.append(ping(near, network.far, scale))


def lines(networks):
    comparisons = [
        (TCP, "rates", "switch_taps", "vde_switch", 3), (TCP, "rates", "switch_taps_plain", "vde_switch", 3),
        (TCP, "rates", "switch_taps", "kernel_bridge_plain", 0.5),
        (TCP, "rates", "switch_taps_plain", "kernel_bridge_plain", 0.5),
        (TCP, "rates", "switch_taps", "switch_taps_plain", 1), (TCP, "rates", "switch_taps", "kernel_bridge", None),
        (AGAIN, "again", "switch_taps", "vde_switch", None), (PING, "pings", "switch_taps", "vde_switch", None),
        (PING, "pings", "switch_taps", "kernel_bridge", None)]
    for what, figures, name, peer, target in comparisons:
        ours, theirs = networks[name], networks[peer]
        if theirs.missing:
            yield results.skipped(name, peer, theirs.missing, target=target, **what)
        else:
            yield results.compared(name, getattr(ours, figures), peer, getattr(theirs, figures), target=target,
                                   at_most=False, **what)


def obstacle():
    """Why nothing can be measured here; empty where it can."""
    if os.geteuid() != 0:
        return "making interfaces needs root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    for program in ("ip", "iperf3", "ping"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


def main():
    mount, *numbers = sys.argv[1:]
    rounds = int(numbers[0]) if numbers else 7
    scale = int(numbers[1]) if numbers[1:] else 1
    why = obstacle()
    if why:
        print(json.dumps([results.skipped("switch_taps", "vde_switch", why, target=3, **TCP)]))
        return
    # Ended in any way but one, it takes away what it has made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sysc.set_pdeathsig(signal.SIGTERM)
    with contextlib.closing(Networks(mount)) as networks:
        networks.make()
        measure(networks, rounds, scale)
        print(json.dumps(list(lines(networks.all))))


if __name__ == "__main__":
    main()
