"""Which threads of the service run first when there are more threads than cores.

First the event loop, so that probes and refusals need not wait for images; then the work on an image in Python, since
such a thread may hold the interpreter's lock, and all others wait while it has no core; last the network, which has
threads of its own, never holds that lock and takes most of the time.
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
    """Lower the priority of this thread, and of those that it starts; call it once per thread."""
    if sys.platform == "linux":  # where every thread has a niceness of its own
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + priority)
