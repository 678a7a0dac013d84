"""Priorities of the service's threads, for when there are more threads than cores.

The event loop comes first, so that probes and refusals do not wait for images. Then comes the work on images in Python:
such a thread may hold the interpreter's lock, and all others wait while it has no core. The network comes last: it has
its own threads, never holds that lock and takes most of the time.
"""

import os
import sys
import threading
from enum import IntEnum

__all__ = ["Priority", "give_way"]


class Priority(IntEnum):
    """How much higher a thread's niceness is than the event loop's."""

    IMAGE = 5
    NETWORK = 10


def give_way(priority: Priority) -> None:
    """Lower the priority of this thread, and of those that it starts; the main thread runs the event loop."""
    if sys.platform == "linux":  # elsewhere threads have no niceness of their own
        thread, loop = threading.get_native_id(), os.getpid()
        inherited, first = (os.getpriority(os.PRIO_PROCESS, one) for one in (thread, loop))
        os.setpriority(os.PRIO_PROCESS, thread, max(inherited, first + priority))
