# SPDX-License-Identifier: BSD-3-Clause
"""Runs the benchmarks against a private daemon and keeps their results: run.py OUTPUT [ROUNDS [SCALE]]."""

import json
import os
import subprocess
import sys

import harness

PROGRAMS = ["file_mode", "flow_setup", "pool_alloc"]


def measure(program, numbers):
    daemon = harness.Daemon()
    try:
        daemon.start()
        done = subprocess.run([harness.program(program), daemon.mount, *numbers], check=True,
                              stdout=subprocess.PIPE, text=True)
        daemon.stop()
    finally:
        daemon.clean()
    return json.loads(done.stdout)


def main():
    output, *numbers = sys.argv[1:]
    results = [line for program in PROGRAMS for line in measure(program, numbers)]
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with open(output, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    print(f"{'name':10} {'mode':5} {'bytes':>7} {'metric':26} {'value':>14} {'spread':>7}  "
          f"{'peer':18} {'ratio':>8}  target")
    for line in results:
        met = "met" if line["met"] else "MISSED"
        target = "" if line["target"] is None else f"{line['target']:.2f} {met}"
        print(f"{line['name']:10} {line['mode']:5} {line['bytes']:7} {line['metric']:26} "
              f"{line['value']:14.1f} {line['spread']:7.2f}  {line['peer']:18} "
              f"{line['ratio']:8.3f}  {target}")


main()
