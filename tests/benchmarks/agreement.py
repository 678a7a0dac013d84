"""Check that every service recognizes the same class as ours in every photo."""

import base64
import time
from collections.abc import Iterable
from typing import Final

import httpx

from tests.benchmarks.photos import PhotoSet
from tests.benchmarks.services import Running

__all__ = ["Disagreement", "check_answers"]

_TIMEOUT_SECONDS: Final = 120


class Disagreement(Exception):
    """A service's answer differs from ours, so its speed would mean nothing."""


def check_answers(services: Iterable[Running], photos: PhotoSet) -> dict[tuple[str, str], float]:
    """Send every photo to every service, one by one; return the seconds per answer by service and photo set.

    Args:
        services: For each network, ours before its rivals.
        photos: The photos to send.

    Raises:
        Disagreement: An answer differs from that of our service.
    """
    expected: dict[str, tuple[str, ...]] = {}
    pace = {}
    for running in services:
        began = time.monotonic()
        classes = tuple(_class_of(running, file) for file in photos.files)
        pace[running.service.name, photos.name] = (time.monotonic() - began) / len(photos.files)
        wanted = expected.setdefault(running.service.network, classes)
        if classes != wanted:
            raise Disagreement(f"{running.service.name} answers {classes} for the {photos.name} photos, not {wanted}.")
    return pace


def _class_of(running: Running, file: bytes) -> str:
    body = {"img": base64.b64encode(file).decode()}
    with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
        answer = client.post(f"{running.url}/image_recognition", json=body).raise_for_status().json()
    return str(answer["result"])
