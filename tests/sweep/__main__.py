"""Check every architecture, or the named ones, and write a table of the results."""

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_HOME", tempfile.mkdtemp())
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

from tests.sweep.check import check
from tests.sweep.networks import ALL
from tests.sweep.table import table

_LINES = Path("sweep/results.jsonl")


def main() -> int:
    """Run the command; return 1 if a network failed."""
    warnings.simplefilter("ignore")  # the libraries' networks have warnings of their own
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("names", nargs="*", default=ALL, help="such as timm/test_vit (default: all)")
    parser.add_argument("--resume", action="store_true", help="skip what is already in sweep/results.jsonl")
    parser.add_argument("--table", type=Path, default=Path("sweep/architectures.md"), help="default: %(default)s")
    parser.add_argument("--together", action="store_true", help="check all in one process: faster for a few small ones")
    parser.add_argument("--stored", nargs="+", help="store and serve only these; only explain the others")
    options = parser.parse_args()
    _LINES.parent.mkdir(exist_ok=True)
    if not options.resume:
        _LINES.unlink(missing_ok=True)
    done = _known()
    for name in options.names:
        if name not in done:
            with _LINES.open("a", encoding="utf-8") as file:
                stored = options.stored is None or name in options.stored
                file.write(json.dumps(_checked(name, alone=not options.together, stored=stored)) + "\n")
    rows = list(_known().values())
    options.table.write_text(table(rows), encoding="utf-8")
    failed = [row["architecture"] for row in rows if "failed" in row]
    print(f"{len(rows)} networks, {len(failed)} failed: {', '.join(failed) or 'none'}; table in {options.table}")
    return bool(failed)


def _checked(name: str, *, alone: bool, stored: bool) -> dict[str, Any]:
    try:
        row = check(name, alone=alone, stored=stored)
    except AssertionError as exc:
        row = {"architecture": name, "failed": str(exc)}
    print(row, flush=True)
    return row


def _known() -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in _LINES.read_text(encoding="utf-8").splitlines()] if _LINES.exists() else []
    return {row["architecture"]: row for row in rows}


if __name__ == "__main__":
    sys.exit(main())
