"""Time a server's probes repeatedly, in a separate process: ``python -m tests.soak.probe URL SECONDS``."""

import http.client
import json
import sys
import time
from typing import Final
from urllib.parse import urlsplit

__all__ = ["PATHS"]

PATHS: Final = ("/livez", "/readyz", "/metrics")
_PAUSE_SECONDS: Final = 0.05


def main(url: str, seconds: float) -> int:
    """Print the seconds of each answer, by path, as JSON; infinity for answers other than 200."""
    took: dict[str, list[float]] = {path: [] for path in PATHS}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in PATHS:
            took[path].append(_ask(urlsplit(url).netloc, path))
            time.sleep(_PAUSE_SECONDS)
    sys.stdout.write(json.dumps(took))
    return 0


def _ask(address: str, path: str) -> float:
    began = time.perf_counter()
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return time.perf_counter() - began if response.status == http.HTTPStatus.OK else float("inf")
    except OSError:
        return float("inf")
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
