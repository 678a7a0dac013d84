"""Report progress in the terminal."""

import sys
import time

__all__ = ["say"]

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print a line with the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    sys.stdout.write(f"{minutes:3d}:{seconds:02d}  {text}\n")
    sys.stdout.flush()
