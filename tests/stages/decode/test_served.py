"""Hostile files sent to the served product."""

import httpx
import pytest

from tests.hostile import HOSTILE
from tests.places import PACKAGED_PHOTOS

REFUSED = {413: {"image_too_large"}, 415: {"unsupported_image"}, 422: {"broken_image"}}


@pytest.mark.parametrize("kind", sorted({name.partition(":")[0] for name in HOSTILE}))
def test_the_worker_stays_healthy(client: httpx.Client, kind: str) -> None:
    """Hostile files are answered 413, 415 or 422, or recognized, and photos after them are recognized."""
    for name in (name for name in HOSTILE if name.startswith(f"{kind}:")):
        answer = client.post("/image_recognition_file", files={"img": HOSTILE[name]()}, data={"gradcam": "false"})
        refused = REFUSED.get(answer.status_code, set())
        assert answer.status_code == 200 or answer.json()["error"]["code"] in refused, (name, answer.text)
        photo = client.post("/image_recognition_file", files={"img": PACKAGED_PHOTOS[0].read_bytes()})
        assert photo.json()["result"] == "tiger cat"
