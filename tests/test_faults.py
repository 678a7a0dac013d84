"""The service under faults: stops, kills, full and read-only disks, damaged models."""

import base64
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import bentoml
import httpx
import psutil
import pytest

from tests.places import PACKAGED_PHOTOS, ROOT
from tests.serving import BENTOML, Server, free_port, start_server
from tests.soak.load import request_bytes

CAT: Final = PACKAGED_PHOTOS[0].read_bytes()
BODY: Final = json.dumps({"img": base64.b64encode(CAT).decode()}).encode()
GRACE_SECONDS: Final = 30


def worker_of(server: Server) -> psutil.Process:
    """Return the process that answers."""
    (worker,) = (
        child for child in psutil.Process(server.process.pid).children() if "worker" in " ".join(child.cmdline())
    )
    return worker


@pytest.fixture(scope="module")
def mortal(stored_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server to do anything to; the test that ends it comes last."""
    folder = tmp_path_factory.mktemp("mortal")
    started = start_server("service:ImageRecognition", folder, {"IMAGE_RECOGNITION_MODEL": stored_model})
    try:
        started.wait_until_ready()
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()


def recognizes(server: Server) -> bool:
    """Return whether all ways to send an image are answered."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answers = [
            client.post("/image_recognition", content=BODY, headers={"Content-Type": "application/json"}),
            client.post("/image_recognition_file", files={"img": CAT}),
            client.post("/image_recognition_batch", json={"imgs": [base64.b64encode(CAT).decode()] * 8}),
        ]
        probes = [client.get(path) for path in ("/readyz", "/metrics", "/model", "/")]
    return all(answer.status_code == 200 for answer in (*answers, *probes))


def wait_until_arrived(server: Server, count: int) -> None:
    """Return when ``count`` requests are answered or being answered: what is still on its way may be lost."""
    figures = re.compile(
        r'^image_recognition_requests(?:_in_flight|_total{route="/image_recognition",status="200"}) (\S+)', re.MULTILINE
    )
    while True:
        text = httpx.get(f"{server.url}/metrics").text
        if sum(map(float, figures.findall(text))) >= count + 1:  # this request is one more
            return


def test_a_killed_worker_comes_back(mortal: Server) -> None:
    """A worker that is killed is replaced, and the service answers again."""
    killed = worker_of(mortal)
    killed.kill()
    mortal.wait_until_ready()
    assert worker_of(mortal).pid != killed.pid
    assert recognizes(mortal)


def test_a_disk_that_fills_up_stops_nothing(mortal: Server) -> None:
    """From the moment when no byte can be written to any file any more, the log included, answers go on."""
    assert recognizes(mortal)
    worker = worker_of(mortal)
    with ExitStack() as freed:
        for pid in (mortal.process.pid, worker.pid):
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            freed.callback(resource.prlimit, pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        before = mortal.log_file.stat().st_size
        for _ in range(3):
            assert recognizes(mortal)
        assert mortal.log_file.stat().st_size == before
    assert worker.is_running()


def test_an_end_under_load_loses_no_request(mortal: Server) -> None:
    """Every request that has arrived when the server is told to end is answered; then it ends well and in time."""
    host, port = mortal.url.removeprefix("http://").split(":")
    with ExitStack() as open_ones:
        address = (host, int(port))
        clients = [open_ones.enter_context(socket.create_connection(address, timeout=GRACE_SECONDS)) for _ in range(60)]
        for client in clients:
            client.sendall(request_bytes("/image_recognition", BODY))
        wait_until_arrived(mortal, len(clients))
        began = time.monotonic()
        mortal.process.send_signal(signal.SIGTERM)
        answers = [b"".join(iter(partial(client.recv, 65_536), b"")) for client in clients]
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
    assert all(json.loads(answer.partition(b"\r\n\r\n")[2])["success"] for answer in answers)
    assert mortal.process.wait(timeout=GRACE_SECONDS) == 0
    assert time.monotonic() - began < GRACE_SECONDS
    assert "Traceback" not in mortal.log


def _namespaces_work() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is not None and not subprocess.run([unshare, "-m", "true"], capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not _namespaces_work(), reason="needs the right to make a mount namespace")
def test_a_read_only_root_and_a_full_temporary_folder_stop_nothing(stored_model: str, tmp_path: Path) -> None:
    """With nothing writable but a folder for temporary files, which fills up, the service starts and answers on."""
    temporary, log = tmp_path / "temporary", tmp_path / "server.log"
    temporary.mkdir()
    port = free_port()
    steps = (
        "set -e",
        f"mount -t tmpfs -o size=64k tmpfs {temporary}",
        "mount -o remount,bind,ro /",
        f"if touch {tmp_path}/x 2>/dev/null; then exit 3; fi",
        f"export TMPDIR={temporary}",
        f"exec {BENTOML} serve service:ImageRecognition --host 127.0.0.1 --port {port}",
    )
    environment = os.environ | {"IMAGE_RECOGNITION_MODEL": stored_model}
    with log.open("wb") as output:
        command = ["unshare", "-m", "sh", "-c", "\n".join(steps)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    started = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        started.wait_until_ready()
        assert recognizes(started)
        inside = Path(f"/proc/{process.pid}/root{temporary}/full")  # only its own processes see that folder
        with pytest.raises(OSError, match="No space left"):
            inside.write_bytes(bytes(1_000_000))
        assert recognizes(started)
        assert "Traceback" not in started.log
    finally:
        started.stop()


def test_a_damaged_model_is_refused(stored_model: str, tmp_path: Path) -> None:
    """A byte of the network was flipped: the server says so in one sentence that says what to do, and ends."""
    source = Path(bentoml.models.get(stored_model).path).parent
    home = tmp_path / "damaged"
    shutil.copytree(source, home / "models" / stored_model)
    (file,) = home.rglob("network.bin")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    started = start_server("service:ImageRecognition", tmp_path, {"BENTOML_HOME": str(home)})
    assert started.process.wait(timeout=60) != 0
    assert "is missing or changed: store the model again with save_model.py" in started.log
    assert len(started.log.strip().splitlines()) == 1


def test_a_damaged_description_is_refused(stored_model: str, tmp_path: Path) -> None:
    """Where BentoML's own description of the model cannot be read, the last line says what to do."""
    source = Path(bentoml.models.get(stored_model).path).parent
    shutil.copytree(source, tmp_path / "home" / "models" / stored_model)
    (file,) = tmp_path.rglob("model.yaml")
    file.write_text("{", encoding="utf-8")
    started = start_server("service:ImageRecognition", tmp_path, {"BENTOML_HOME": str(tmp_path / "home")})
    assert started.process.wait(timeout=60) != 0
    assert "is damaged (its model.yaml): store it again" in started.log.strip().splitlines()[-1]
    assert "Traceback" not in started.log
