"""The whole application on a real server: the key, CORS, headers, and the lines of the log."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bentoml
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from src.api.app import create_app
from src.api.endpoints import Endpoints
from src.api.schemas.answers import ErrorResponse
from src.settings import Settings
from tests.places import PACKAGED_PHOTOS
from tests.serving import Server, running_server

CAT = PACKAGED_PHOTOS[0].read_bytes()
KEY = "correct-horse-battery-staple"
ORIGIN = "https://example.org"
MARK = "TWFya2VkQmFzZTY0"


def test_an_error_in_bentomls_application_is_answered_like_ours() -> None:
    """An error behind our routes gets the common error object, with the id in the log."""

    async def fail(_: Request) -> Response:
        raise RuntimeError("secret")

    bento = Starlette(routes=[Route("/livez", fail)])
    app = create_app(Settings(), Endpoints(Settings()), bento)
    response = TestClient(app, raise_server_exceptions=False).get("/livez")
    assert response.status_code == 500
    body = ErrorResponse.model_validate_json(response.content)
    assert body.error.code == "internal"
    assert response.headers["x-request-id"] in body.error.message
    assert "secret" not in response.text


@pytest.fixture(scope="module")
def guarded(stored_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, closed figures, an allowed origin, one thread, no queue, and a log of JSON."""
    environment = {
        "IMAGE_RECOGNITION_API_KEY": KEY,
        "IMAGE_RECOGNITION_OPEN_METRICS": "false",
        "IMAGE_RECOGNITION_CORS_ORIGINS": f'["{ORIGIN}"]',
        "IMAGE_RECOGNITION_LOG_FORMAT": "json",
        "IMAGE_RECOGNITION_THREADS": "1",
        "IMAGE_RECOGNITION_MAX_QUEUE": "0",
        "IMAGE_RECOGNITION_TIMEOUT": "3",
    }
    with running_server(tmp_path_factory.mktemp(f"guarded-{stored_model}"), environment) as running:
        yield running


@pytest.fixture
def browser(guarded: Server) -> Iterator[httpx.Client]:
    """A client at the allowed origin that has the key."""
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=guarded.url, timeout=60, headers=headers) as connected:
        yield connected


def code(response: httpx.Response) -> str:
    """Return the code of the one error object, which must be all there is."""
    return ErrorResponse.model_validate_json(response.content).error.code


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, f"Bearer {KEY.upper()}"],
)
@pytest.mark.parametrize("path", ["/image_recognition", "/model", "/metrics", "/schema.json", "/nothing"])
def test_requests_without_the_key_are_refused(guarded: Server, path: str, sent: str) -> None:
    """A wrong or missing key is refused with the required scheme, readable at the allowed origin."""
    headers = {"Origin": ORIGIN} | ({"Authorization": sent} if sent else {})
    response = httpx.get(f"{guarded.url}{path}", headers=headers)
    assert response.status_code == 401
    assert code(response) == "unauthorized"
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert KEY not in response.text


def test_duplicate_authorization_is_rejected(guarded: Server) -> None:
    """A right and a wrong key together are refused: a proxy may have checked the other one."""
    headers = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer wrong")]
    assert httpx.get(f"{guarded.url}/model", headers=headers).status_code == 401


def test_requests_with_the_key_are_answered(browser: httpx.Client, guarded: Server) -> None:
    """Requests with the key are answered, in any case of the scheme, and from BentoML's client."""
    assert browser.post("/image_recognition_file", files={"img": CAT}).json()["result"] == "tiger cat"
    assert browser.get("/metrics").status_code == 200
    assert httpx.get(f"{guarded.url}/model", headers={"authorization": f"bearer {KEY}"}).status_code == 200
    with bentoml.SyncHTTPClient(guarded.url, token=KEY) as client:
        assert client.image_recognition(img=base64.b64encode(CAT).decode(), gradcam=False)["result"] == "tiger cat"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/", "/docs", "/docs.json"])
def test_probes_and_pages_need_no_key(guarded: Server, path: str) -> None:
    """Probes, and the pages where users enter the key, do not need it."""
    assert httpx.get(f"{guarded.url}{path}").status_code == 200


@pytest.mark.parametrize("path", ["/docs/../model", "/docs/%2e%2e/model", "//model", "/model/"])
def test_no_spelling_of_a_path_bypasses_the_key(guarded: Server, path: str) -> None:
    """A path that requires the key requires it in every spelling."""
    host = httpx.URL(guarded.url)
    with httpx.Client() as client:
        request = client.build_request("GET", host)
        request.url = host.copy_with(raw_path=path.encode())
        assert client.send(request).status_code in {401, 404}


def test_a_preflight_needs_no_key(guarded: Server) -> None:
    """Browsers send preflight requests without the key."""
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    response = httpx.options(f"{guarded.url}/image_recognition", headers=headers)
    assert response.status_code == 200
    assert "authorization" in response.headers["access-control-allow-headers"]


def test_a_refused_preflight_names_the_setting(guarded: Server) -> None:
    """Another origin gets the common error object, which names the setting."""
    headers = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    response = httpx.options(f"{guarded.url}/image_recognition", headers=headers)
    assert (response.status_code, code(response)) == (400, "cors_refused")
    assert "IMAGE_RECOGNITION_CORS_ORIGINS" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/livez", "/nothing"])
def test_other_origins_may_not_read_answers(guarded: Server, path: str) -> None:
    """Answers and errors have no CORS headers for an origin that the settings do not name."""
    answer = httpx.get(f"{guarded.url}{path}", headers={"Origin": "https://example.com"})
    assert "access-control-allow-origin" not in answer.headers


def test_every_error_has_cors_headers(browser: httpx.Client) -> None:
    """A browser at the allowed origin can read 400, 404, 405, 413, 415, 422, 429 and 504, and Retry-After."""
    huge = b" " * 20_000_001
    json_type = {"Content-Type": "application/json"}
    answers = {
        400: browser.post("/image_recognition", json={}),
        404: browser.get("/nothing"),
        405: browser.get("/image_recognition"),
        413: browser.post("/image_recognition", content=huge, headers=json_type),
        415: browser.post("/image_recognition", content=b"x"),
        422: browser.post("/image_recognition_file", files={"img": CAT[:5000]}),
        504: browser.post("/image_recognition", content=_dribble(), headers=json_type),
    }
    answers[429] = _busy(browser)
    for status, response in answers.items():
        assert response.status_code == status
        assert code(response)
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["x-content-type-options"] == "nosniff"
    assert answers[429].headers["retry-after"] == "1"
    assert "Retry-After" in answers[429].headers["access-control-expose-headers"]


def _dribble() -> Iterator[bytes]:
    for _ in range(40):
        yield b" "
        time.sleep(0.1)


def _busy(browser: httpx.Client) -> httpx.Response:
    """Return the answer to the later of two requests at once: there is no queue."""
    batch = {"imgs": [base64.b64encode(CAT).decode()] * 64}
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(browser.post, "/image_recognition_batch", json=batch)
        while not working.done():
            response = browser.post("/image_recognition", json={"img": "!"})
            if response.status_code == 429:
                return response
        return working.result()


def lines(server: Server) -> list[dict[str, Any]]:
    """Return every line of the log, each of which must be a JSON object."""
    return [json.loads(line) for line in server.log.splitlines()]


def test_every_line_of_the_log_is_json(browser: httpx.Client, guarded: Server) -> None:
    """Startup, answers and refusals are logged as objects with time, level and message; requests have an id."""
    answer = browser.post("/image_recognition", json={"img": "!"}, headers={"X-Request-ID": "my-own.id_1"})
    other = browser.get("/model", headers={"X-Request-ID": "not an id"})
    assert answer.headers["x-request-id"] == "my-own.id_1"
    time.sleep(0.2)
    written = lines(guarded)
    assert all({"time", "level", "logger", "message"} <= set(line) for line in written)
    (line,) = [line for line in written if line.get("request_id") == "my-own.id_1"]
    assert (line["status"], line["code"], line["path"]) == (400, "invalid_base64", "/image_recognition")
    assert line["ms"] > 0
    assert "code" not in next(line for line in written if line.get("request_id") == other.headers["x-request-id"])


def test_probes_are_not_logged(browser: httpx.Client, guarded: Server) -> None:
    """Frequent requests by probes do not fill the log."""
    before = len(guarded.log)
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        browser.get(path)
    time.sleep(0.2)
    assert len(guarded.log) == before


def test_files_are_logged_once(browser: httpx.Client, guarded: Server) -> None:
    """A file of a page, and an answer of BentoML, is logged once, by us, however its path is written."""
    before = len(lines(guarded))
    assert browser.get("/docs/swagger-ui.css").status_code == 200
    assert browser.get("/schema.json").status_code == 200
    assert browser.get("/docs/a%0Ab").status_code == 404
    time.sleep(0.2)
    written = lines(guarded)[before:]
    assert sorted(line["path"] for line in written) == ["/docs/a%0Ab", "/docs/swagger-ui.css", "/schema.json"]


def test_images_and_keys_never_appear_in_the_log(browser: httpx.Client, guarded: Server) -> None:
    """The log never contains request contents: valid, invalid or unknown fields, names or headers."""
    marked = MARK * 50
    bodies: list[Any] = [
        {"img": marked},
        {"img": marked + "!"},
        {"img": MARK, "target": marked},
        {"img": MARK, "colormap": marked},
        {"img": MARK, "top_k": marked},
        {"img": [marked]},
        {marked: 1, "img": MARK},
        {"img": {marked: marked}},
        [marked],
        marked,
    ]
    answers = [browser.post("/image_recognition", json=body) for body in bodies]
    answers += [browser.post("/image_recognition_batch", json={"imgs": [marked], "x": marked})]
    answers += [
        browser.post("/image_recognition", content=f'{{"img": "{marked}', headers={"Content-Type": "application/json"})
    ]
    answers += [browser.post("/image_recognition", content=b"x", headers={"Content-Type": f"image/{marked}"})]
    answers += [browser.post("/image_recognition_file", files={marked: CAT}, data={marked: marked})]
    answers += [
        browser.get(f"/model?img={marked}"),
        browser.get("/model", headers={"Authorization": f"Bearer {marked}"}),
    ]
    time.sleep(0.2)
    assert {answer.status_code for answer in answers} <= {200, 400, 401, 415}
    assert MARK not in guarded.log
    assert KEY not in guarded.log
