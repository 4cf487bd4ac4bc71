"""Measurements, none of which is a test: `python -m tests.bench tokens [--json]`."""

import argparse
import json
import sys
from importlib import import_module

SUBJECTS = ("tokens",)


def main() -> None:
    """Measure one subject, and print what came out as a table or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--json", action="store_true", help="everything, for a machine")
    given = parser.parse_args()
    subject = import_module(f"tests.bench.{given.subject}")
    found = subject.measure()
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if given.json else subject.table(found))


if __name__ == "__main__":
    main()
