# SPDX-License-Identifier: BSD-3-Clause
"""Runs the benchmarks against private daemons: run.py FOLDER [ROUNDS [SCALE]] [--only PROGRAM]...

Leaves results.json and index.html in FOLDER and prints a table. What a benchmark says on standard
error goes to FOLDER/log.
"""

import argparse
import json
import os
import subprocess
import sys

import harness
import page

PROGRAMS = ["file_mode", "mapped_mode", "flow_setup", "idle_flows", "pool_alloc", "seal_speed",
            "encrypted_flow", "bus_mapped", "bus_paced", "switch_taps"]


def command(program):
    """Some are in Python."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{program}.py")
    return [sys.executable, "-B", script] if os.path.exists(script) else [harness.program(program)]


def measure(program, numbers, log):
    daemon = harness.Daemon()
    try:
        daemon.start()
        environment = {**os.environ, "FLOWFS_DAEMON_PID": str(daemon.process.pid)}
        done = subprocess.run([*command(program), daemon.mount, *numbers], check=True,
                              stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        daemon.stop()
    finally:
        daemon.clean()
    return json.loads(done.stdout)


def measure_all(programs, numbers, log):
    """The figures of all programs, and which have failed: theirs are missing, the others' are not."""
    results, failed = [], []
    for program in programs:
        try:
            results += measure(program, numbers, log)
        except subprocess.CalledProcessError as error:
            failed.append(f"{program} ended with status {error.returncode}")
    return results, failed


def row(line):
    """A line of the table."""
    if "skipped" in line:
        return f"skipped: {line['name']} beside {line['peer']}, {line['mode']}: {line['skipped']}"
    target = ""
    if line["target"] is not None:
        target = f"{line['target']:g} {'met' if line['met'] else 'MISSED'}"
    ratio = "" if line["ratio"] is None else f"{line['ratio']:.3f}"
    value = f"{line['value']:.1f}" if line["value"] >= 10 else f"{line['value']:.3f}"
    return (f"{line['name']:28} {line['mode']:4} {line['bytes']:7} {line['metric']:26} "
            f"{value:>14} {line['spread']:7.2f}  {line['peer'] or '':22} {ratio:>8}  {target}")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="run.py")
    parser.add_argument("folder")
    parser.add_argument("numbers", nargs="*", metavar="ROUNDS SCALE")
    parser.add_argument("--only", action="append", choices=PROGRAMS, help="and no other, may be given again")
    return parser.parse_intermixed_args(arguments)


def main():
    given = parse(sys.argv[1:])
    folder, programs = given.folder, given.only or PROGRAMS
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
        results, failed = measure_all(programs, given.numbers, log)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, "index.html"), "w", encoding="utf-8") as file:
        file.write(page.render(results))
    print(f"{'name':28} {'mode':4} {'bytes':>7} {'metric':26} {'value':>14} {'spread':>7}  "
          f"{'peer':22} {'ratio':>8}  target")
    for line in results:
        print(row(line))
    if failed:
        sys.exit(f"{', '.join(failed)}: {os.path.join(folder, 'log')} says why")


if __name__ == "__main__":
    main()
