# SPDX-License-Identifier: BSD-3-Clause
"""Runs file_mode against a private daemon and keeps its results: run_file_mode.py OUTPUT [ROUNDS [SCALE]]."""

import json
import os
import subprocess
import sys

import harness


def main():
    output, *numbers = sys.argv[1:]
    daemon = harness.Daemon()
    try:
        daemon.start()
        done = subprocess.run([harness.program("file_mode"), daemon.mount, *numbers], check=True,
                              stdout=subprocess.PIPE, text=True)
        daemon.stop()
    finally:
        daemon.clean()
    results = json.loads(done.stdout)
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with open(output, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    print(f"{'mode':5} {'bytes':>7} {'metric':12} {'value':>14} {'spread':>7}  {'peer':18} "
          f"{'ratio':>8}  target")
    for line in results:
        met = "met" if line["met"] else "MISSED"
        target = "" if line["target"] is None else f"{line['target']:.2f} {met}"
        print(f"{line['mode']:5} {line['bytes']:7} {line['metric']:12} {line['value']:14.1f} "
              f"{line['spread']:7.2f}  {line['peer']:18} {line['ratio']:8.3f}  {target}")


main()
