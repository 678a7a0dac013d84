"""Start a service with default settings, and test it by overload and soak: ``python -m tests.soak``."""

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.benchmarks.store import store_default
from tests.serving import start_server
from tests.soak.mixed import Soak
from tests.soak.overload import overload

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 1 if the service failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--overload", type=float, default=60, metavar="SECONDS", help="default: %(default)s; 0: none")
    parser.add_argument("--requests", type=int, default=100_000, help="mixed requests (default: %(default)s; 0: none)")
    options = parser.parse_args(arguments)
    store_default()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="image-recognition-soak-") as folder:
        server = start_server("service:ImageRecognition", Path(folder))
        try:
            server.wait_until_ready()
            if options.overload:
                faults += uvloop.run(overload(server, options.overload)).faults()
            if options.requests:
                soak = Soak(server)
                uvloop.run(soak.run(options.requests))
                faults += soak.faults()
        finally:
            server.stop()
        if "Traceback" in server.log:
            faults.append(f"the log has a traceback: {server.log[server.log.index('Traceback') :][:2000]}")
    for fault in faults:
        print(f"soak: {fault}", file=sys.stderr)  # noqa: T201 - a command speaks to its user
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
