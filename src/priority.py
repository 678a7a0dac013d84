"""Which threads of the service go first where there are more than cores.

First the event loop, so that probes and refusals need not wait for images; then what is done to an image in Python:
such a thread may hold the interpreter's lock, and all others wait for it while it has no core; last the network, which
has threads of its own, never holds that lock and takes most of the time.
"""

import os
import sys
import threading
from enum import IntEnum

__all__ = ["Priority", "give_way"]


class Priority(IntEnum):
    """How many steps of niceness a thread is behind the event loop."""

    IMAGE = 5
    NETWORK = 10


def give_way(priority: Priority) -> None:
    """Let this thread, and those that it starts, have what more urgent ones leave; call it once in a thread."""
    if sys.platform == "linux":  # where every thread has a niceness of its own
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + priority)
