# SPDX-License-Identifier: Apache-2.0
"""Reads the results of a run of bench/run, for the programs beside this file."""
import json
import os
import sys


def load(path):
    """Ends the program, with a sentence, where that is not what the file has."""
    program = os.path.basename(sys.argv[0])
    try:
        with open(path, encoding="utf-8") as file:
            run = json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"{program}: {path}: {error}")
    if not isinstance(run, dict) or run.get("format") != "volt-bench" or run.get("version") != 1:
        sys.exit(f"{program}: {path}: not the results of bench/run, version 1")
    return run
