"""Run checks that leave much memory behind in a separate process."""

import multiprocessing
from collections.abc import Callable

__all__ = ["run_alone"]


def run_alone(check: Callable[[str], None], argument: str, seconds: float) -> None:
    """Run ``check(argument)`` in a forked process, whose memory is freed afterwards.

    torch keeps what it captures: two hundred networks, one after the other, would take more than 8 GB.

    Raises:
        AssertionError: It failed (the traceback is on standard error) or took longer than ``seconds``.
    """
    process = multiprocessing.get_context("fork").Process(target=check, args=(argument,))
    process.start()
    try:
        process.join(seconds)
        assert not process.is_alive(), f"{argument} took longer than {seconds:.0f} s"
    finally:
        process.kill()
    assert process.exitcode == 0, f"{argument} failed with exit code {process.exitcode}: see standard error"
