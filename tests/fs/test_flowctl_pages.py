# SPDX-License-Identifier: BSD-3-Clause
"""What is written and what is built are the same: manual pages, README, completion."""

import os
import re
import shlex
import stat
import subprocess

import pytest
import wire
from harness import binary
from procs import sh

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMANDS = ["status", "id", "doctor", "top", "serve", "ping", "perf", "watch", "cert", "bus"]


def source(*parts):
    with open(os.path.join(ROOT, *parts), encoding="utf-8") as file:
        return file.read()


def help_of(program, *arguments):
    """The options that --help shows, each with all its spellings."""
    text = subprocess.run([binary(program), *arguments, "--help"], capture_output=True, text=True,
                          check=True).stdout
    options = [re.match(r"\s+(-[^\s:]*)", line) for line in text.splitlines()]
    return {frozenset(option[1].rstrip(",").split(",")) for option in options if option}


def options_of(item):
    """The spellings in an item of a manual page: `.It Fl c , Fl Fl count Ar N`."""
    return frozenset(("--" if double else "-") + name
                     for double, name in re.findall(r"Fl (Fl )?([\w-]+)", item))


def sections(page):
    """{heading: lines} of a manual page; lines before the first .Ss belong to their .Sh."""
    found, heading = {}, "preamble"
    for line in page.splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            heading = line[4:]
        found.setdefault(heading, []).append(line)
    return found


def documented_options(command):
    pages = sections(source("man", "flowctl.1"))
    headings = [heading for heading in pages if heading.split()[0] == command]
    assert len(headings) == 1
    lines = pages["DESCRIPTION"] + pages[headings[0]]
    return {options_of(line) for line in lines if line.startswith(".It Fl")}


# --- flowctl(1) ----------------------------------------------------------------------------------
@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_are_those_in_its_page(command):
    assert help_of("flowctl", command) == documented_options(command)


def test_commands_are_those_in_the_page():
    text = subprocess.run([binary("flowctl"), "--help"], capture_output=True, text=True,
                          check=True).stdout
    listed = re.findall(r"^  (\w+)", text.split("Subcommands:")[1], re.MULTILINE)
    assert listed == COMMANDS
    headings = [heading.split()[0] for heading in sections(source("man", "flowctl.1"))]
    assert [heading for heading in headings if heading in listed] == COMMANDS


def test_options_before_a_command_are_in_the_page():
    synopsis = source("man", "flowctl.1").split(".Sh DESCRIPTION")[0].split(".Nm flowctl\n.Cm")[0]
    described = {spelling for line in synopsis.splitlines() for spelling in options_of(line)}
    shown = set().union(*help_of("flowctl"))
    assert described == shown - {"-h"}


@pytest.mark.parametrize("page", ["flowctl.1", "flowfs.7", "flowfs-ipn.7"])
def test_manual_pages_are_sound(page):
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", os.path.join(ROOT, "man", page)],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


# --- flowfs(7) -----------------------------------------------------------------------------------
def documented_modes(heading):
    """{file: mode} of a section of flowfs(7)."""
    lines = sections(source("man", "flowfs.7"))[heading]
    items = [re.fullmatch(r"\.It Pa (\S+) Pq ([0-7]{4})", line) for line in lines]
    return {item[1]: int(item[2], 8) for item in items if item}


def modes_below(folder):
    return {entry.name: stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            for entry in os.scandir(folder)}


def test_the_root_is_as_documented(daemon):
    assert modes_below(daemon.mount) == documented_modes("Root")
    assert stat.S_IMODE(os.stat(daemon.mount).st_mode) == 0o755


def test_a_name_is_as_documented(name):
    assert modes_below(name.path) == documented_modes("names/NAME")


def test_a_flow_is_as_documented(daemon, name):
    name.pair()
    for flow in os.listdir(daemon.path("flows")):
        folder = daemon.path("flows", flow)
        assert modes_below(folder) == documented_modes("flows/ID")
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o500


def test_a_bus_is_as_documented(bus):
    page = sections(source("man", "flowfs.7"))
    described = {item[1].split("/")[0] for heading in ("buses/BUS", "Ethernet") for line in page[heading]
                 if (item := re.match(r"\.It Pa (\S+)", line))}
    bus.set("policy", "switch")
    files = set(os.listdir(bus.path))
    assert files - {"vde"} == described and {"vde"} <= files
    member = bus.join()
    text = " ".join(page["buses/BUS"] + page["Ethernet"])
    modes = modes_below(bus.file("port", str(wire.flow_id(member))))
    for file, mode in modes.items():
        assert re.search(rf"\.Pa (port/N/)?{file}\b", text), file
        assert mode in (0o644, 0o664) or re.search(rf"\.Pa {file} \.Pq {mode:04o}, of its owner", text), file


def test_a_user_is_as_documented(daemon, name):
    folder = daemon.path("users", "0")
    assert os.path.isdir(name.path)
    assert modes_below(folder) == documented_modes("users/UID")
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o500


@pytest.mark.parametrize("file, value", [
    ("backlog", "128"), ("dial_timeout", "10000000"), ("balance", "fifo"), ("mtu", "917504"),
    ("depth", "1048576"), ("direct", "1")])
def test_defaults_are_those_in_the_page(name, file, value):
    assert name.get(file) == value
    lines = sections(source("man", "flowfs.7"))["names/NAME"]
    start = next(i for i, line in enumerate(lines) if line.startswith(f".It Pa {file} "))
    text = " ".join(lines[start:]).split(".It Pa ", 2)[1]
    assert re.search(rf"Default (and most )?(\.Li )?{value}\b", text), text


def test_the_version_has_the_keys_in_the_page(daemon):
    with open(daemon.path("version"), encoding="ascii") as file:
        keys = [line.split()[0] for line in file]
    lines = sections(source("man", "flowfs.7"))["Root"]
    start = lines.index(".It Pa version Pq 0444")
    documented = re.findall(r"^\.Li (\w+)$", "\n".join(lines[start:]), re.MULTILINE)
    assert sorted(keys) == sorted(documented)


def test_event_kinds_are_those_in_the_page():
    types = source("src", "registry", "types.cpp")
    kinds = set(re.findall(r'"((?:name|alias|flow)-[\w-]+)"', types))
    text = " ".join(sections(source("man", "flowfs.7"))["EVENTS"])
    documented = set(re.findall(r"\b(?:name|alias|flow)-[\w-]+", text))
    assert kinds and documented == kinds


# --- README --------------------------------------------------------------------------------------
PASTE = re.compile(r"<!-- paste -->\n```sh\n(.*?)```\n<!-- prints -->\n```text\n(.*?)```", re.DOTALL)


def test_the_readme_prints_what_it_says(daemon):
    blocks = PASTE.findall(source("README.md"))
    assert len(blocks) >= 4
    assert source("README.md").count("```sh") == len(blocks), "every shell block is tried"
    end = "---- end of block ----"
    script = "".join(f"{block}\necho '{end}'\n" for block, _ in blocks)
    done = sh(script.replace("/run/flowfs", daemon.mount), timeout_s=30)
    printed = done.out.split(end + "\n")
    assert printed == [expected for _, expected in blocks] + [""]
    assert done.err == ""


def test_the_readme_names_files_that_exist():
    for path in re.findall(r"\]\(([^)#]+)\)", source("README.md")):
        assert os.path.exists(os.path.join(ROOT, path)), path


# --- completion ----------------------------------------------------------------------------------
def complete(program, line, **environment):
    """What bash offers at the end of `line`."""
    file = os.path.join(ROOT, "config", "completion", program)
    words = shlex.quote(line)
    script = f"""
        set -e; source {file}; COMP_LINE={words}; COMP_POINT=${{#COMP_LINE}}
        COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
        read -ra COMP_WORDS <<<"$COMP_LINE"
        [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
        _{program} || true; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return sorted(filter(None, sh(script, **environment).out.splitlines()))


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_has_every_option_of_a_command(command, tmp_path):
    offered = set(complete("flowctl", f"flowctl {command} -", FLOWFS_MOUNT=str(tmp_path)))
    offered |= set(complete("flowctl", f"flowctl {command} --", FLOWFS_MOUNT=str(tmp_path)))
    shown = set().union(*help_of("flowctl", command))
    assert offered == shown - {"-h"}


def test_completion_has_every_option_of_the_daemon():
    shown = set().union(*help_of("flowfsd"))
    assert set(complete("flowfsd", "flowfsd --")) == {option for option in shown
                                                      if option.startswith("--")}


def test_completion_knows_the_keys_of_top():
    assert complete("flowctl", "flowctl top --sort ") == ["bytes", "id", "messages", "name"]
    refused = subprocess.run([binary("flowctl"), "top", "--sort", "x"], capture_output=True, text=True,
                             check=False)
    assert refused.returncode == 2
    assert "{bytes,id,messages,name}" in refused.stderr


def test_completion_begins_with_the_commands():
    assert set(COMMANDS) < set(complete("flowctl", "flowctl "))
    assert complete("flowctl", "flowctl st") == ["status"]
    assert complete("flowctl", "flowctl --mount /nowhere st") == ["status"]


@pytest.mark.parametrize("command", ["ping", "serve"])
def test_completion_offers_names_of_the_mount(daemon, command):
    for name in ("web", "web:admin", "mail"):
        os.mkdir(daemon.path("names", name))
    assert complete("flowctl", f"flowctl {command} w", FLOWFS_MOUNT=daemon.mount) == [
        "web", "web:admin"]
    line = f"flowctl --mount {daemon.mount} {command} -v mai"
    assert complete("flowctl", line, FLOWFS_MOUNT="/nowhere") == ["mail"]
    # What follows the colon, as readline replaces no more than that.
    assert complete("flowctl", f"flowctl {command} web:", FLOWFS_MOUNT=daemon.mount) == ["admin"]


def test_completion_offers_buses_of_the_mount(daemon):
    os.mkdir(daemon.path("buses", "radio"))
    assert complete("flowctl", "flowctl bus members ra", FLOWFS_MOUNT=daemon.mount) == ["radio"]
    assert complete("flowctl", "flowctl bus re", FLOWFS_MOUNT=daemon.mount) == ["record", "replay"]


def test_completion_of_values():
    assert complete("flowctl", "flowctl watch --kind name-r") == ["name-removed", "name-renamed"]
    assert complete("flowctl", "flowctl ping -c ") == []
    assert complete("flowfsd", "flowfsd --log-level w") == ["warning"]


def test_completion_offers_descriptors_of_the_shell(daemon, name):
    name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    file = os.path.join(ROOT, "config", "completion", "flowctl")
    out = sh(f"""source {file}; exec 7<>{name.dial}; COMP_LINE='flowctl id '
                 COMP_POINT=${{#COMP_LINE}}; _flowctl; printf '%s\\n' "${{COMPREPLY[@]}}" """,
             FLOWFS_MOUNT=daemon.mount).out
    assert "7" in out.split()


def test_completion_does_not_hang_on_a_dead_tree(fresh_daemon):
    daemon = fresh_daemon().start()
    daemon.kill()
    assert "--flood" in complete("flowctl", "flowctl ping --", FLOWFS_MOUNT=daemon.mount)
