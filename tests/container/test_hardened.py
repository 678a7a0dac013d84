"""The image at work: without rights, with the answers of the local service, and with a clean end."""

import base64
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
import PIL.Image
import pytest

from tests.container.images import Image
from tests.container.running import UID, Container, container, started
from tests.places import PACKAGED_PHOTOS, ROOT, SHARED_DATA
from tests.serving import Server

pytestmark = pytest.mark.container

PHOTOS: Final = (
    *PACKAGED_PHOTOS,
    ROOT / "docs" / "cat.jpg",
    *sorted((SHARED_DATA / "photos").glob("*.jp*g"))[:4],  # where they exist
)
START_SECONDS: Final = 6
TAKEN: Final = 16
KILL_WORKER: Final = """
import os, pathlib, signal
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"worker.service" in file.read_bytes() and int(file.parent.name) != os.getpid():
        os.kill(int(file.parent.name), signal.SIGKILL)
"""


def answers(url: str, photo: Path) -> list[dict[str, Any]]:
    """Return the answers of a service to a photo, sent as JSON and as a file."""
    data = photo.read_bytes()
    text = httpx.post(f"{url}/image_recognition", json={"img": base64.b64encode(data).decode()}, timeout=60)
    file = httpx.post(f"{url}/image_recognition_file", files={"img": data}, data={"format": "png"}, timeout=60)
    return [text.json(), file.json()]


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_it_answers_as_the_local_service_does(hardened: Container, server: Server, photo: Path) -> None:
    """Class, percentages, heatmap and model tag are the same, to the last byte."""
    inside = answers(hardened.url, photo)
    assert inside == answers(server.url, photo)
    assert all(answer["success"] for answer in inside)


def test_it_refuses_what_is_broken(hardened: Container) -> None:
    """A broken image is answered 422, in the one error shape."""
    answer = httpx.post(f"{hardened.url}/image_recognition_file", files={"img": b"\xff\xd8\xff\xe0 broken"})
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.json()["error"]["code"] == "broken_image"


def test_it_refuses_what_is_too_large(hardened: Container) -> None:
    """A body of more than 20 MB is answered 413, and the container lives on."""
    answer = httpx.post(f"{hardened.url}/image_recognition_file", files={"img": bytes(21_000_000)}, timeout=60)
    assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert answer.json()["error"]["code"] == "body_too_large"
    assert httpx.get(f"{hardened.url}/livez").is_success


def test_it_is_unprivileged(hardened: Container) -> None:
    """Every process runs as the given user, without capabilities and without a way to get any."""
    lines = hardened.run("sh", "-c", "cat /proc/[0-9]*/status").splitlines()
    status = {(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)}
    assert {value.split()[0] for name, value in status if name == "Uid"} == {str(UID)}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert {value.strip("0") for of, value in status if of == name} == {""}, name
    assert {value for name, value in status if name == "NoNewPrivs"} == {"1"}


def test_it_writes_to_its_temporary_folder_alone(hardened: Container) -> None:
    """The root file system is read-only; the service has written nowhere but to /tmp."""
    for folder in ("/", "/home/bentoml", "/home/bentoml/bento", "/app", "/var/tmp"):  # noqa: S108 - the container's own
        with pytest.raises(subprocess.CalledProcessError):
            hardened.run("touch", f"{folder}/file")
    assert hardened.engine.docker("diff", hardened.name) in {"", "C /tmp", "A /tmp"}


def test_it_listens_on_8000_and_says_so(hardened: Container) -> None:
    """The log names the port, and nothing is looked for elsewhere."""
    assert "listening on http://localhost:8000" in hardened.log
    assert "WARNING" not in hardened.log
    assert "Traceback" not in hardened.log


def test_it_runs_as_its_own_user_by_default(image: Image) -> None:
    """Without an option it is not root either, and it is ready within six seconds."""
    seconds = []
    for _ in range(2):  # the first reads the image from the disk
        with started(image) as plain:
            seconds.append(plain.wait_until_ready())
            assert plain.run("id", "--user") == "1034"
    assert min(seconds) < START_SECONDS, seconds


def test_it_ends_without_losing_a_request(image: Image) -> None:
    """After SIGTERM every request that was taken is answered, in work or waiting, and the exit code is 0."""
    photo, slow = {"img": large_photo()}, {"format": "png", "max_side": "3000"}
    with container(image) as loaded, httpx.Client(base_url=loaded.url, timeout=60) as client:
        with ThreadPoolExecutor(TAKEN) as threads:
            asked = [
                threads.submit(client.post, "/image_recognition_file", files=photo, data=slow) for _ in range(TAKEN)
            ]
            while in_progress(client) < TAKEN:
                time.sleep(0.05)
            time.sleep(0.5)  # the question itself may have been counted
            before = sum(one.done() for one in asked)
            assert loaded.stop() == 0
            statuses = [one.result().status_code for one in asked]
        assert before == 0
        assert statuses == [HTTPStatus.OK] * TAKEN


def test_a_killed_worker_comes_back(image: Image) -> None:
    """A killed worker ends the container, which starts again where a restart policy, as in deploy/, says so."""
    with container(image, "--restart", "on-failure") as bereft:
        before = bereft.inspect(".RestartCount")
        bereft.run("python", "-c", KILL_WORKER)
        deadline = time.monotonic() + 30
        while bereft.inspect(".RestartCount") == before and time.monotonic() < deadline:
            time.sleep(0.2)
        bereft.wait_until_ready()
        assert answers(bereft.url, PHOTOS[0])[0]["success"]


def large_photo() -> bytes:
    """Return a JPEG file of 12 megapixels."""
    with PIL.Image.open(ROOT / "docs" / "cat.jpg") as cat, BytesIO() as file:
        cat.resize((4000, 3000)).save(file, "jpeg")
        return file.getvalue()


def in_progress(client: httpx.Client) -> float:
    """Return how many requests the service has taken and not yet answered."""
    names = ("bentoml_service_request_in_progress", "image_recognition_requests_in_flight ")
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))
