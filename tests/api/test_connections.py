"""Connections that are slow, endless or no HTTP."""

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from src.api.schemas.answers import ErrorResponse
from tests.files import saved
from tests.places import PACKAGED_PHOTOS
from tests.serving import Server, running_server

SECONDS = 1.0
CHUNKED = (
    b"POST /image_recognition HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
)

LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"  # without it, the server waits for a next one


@pytest.fixture(scope="module")
def hasty(stored_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that gives every client one second, with one thread and four places behind it."""
    environment = {
        "IMAGE_RECOGNITION_TIMEOUT": str(SECONDS),
        "IMAGE_RECOGNITION_THREADS": "1",
        "IMAGE_RECOGNITION_MAX_QUEUE": "4",
    }
    with running_server(tmp_path_factory.mktemp(f"hasty-{stored_model}"), environment) as running:
        yield running


def connect(server: Server) -> socket.socket:
    """Return a connection to ``server``."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def dribble(connection: socket.socket, head: bytes, drop: bytes) -> tuple[bytes, float]:
    """Send ``head`` and then ``drop`` every 50 ms; return what came back until the end, and after how many seconds."""
    began = time.monotonic()
    connection.settimeout(0.05)
    came = b""
    try:
        connection.sendall(head)
        while time.monotonic() - began < 15:
            try:
                piece = connection.recv(65_536)
                if not piece:
                    break
                came += piece
            except TimeoutError:
                connection.sendall(drop)
    except ConnectionError:
        pass
    return came, time.monotonic() - began


@pytest.mark.parametrize("head", [b"", b"GET /", b"POST /image_recognition HTTP/1.1\r\nHost: x\r\nX: "])
def test_an_endless_head_is_disconnected(hasty: Server, head: bytes) -> None:
    """A client that sends nothing, or its head byte by byte, is disconnected at the deadline."""
    with connect(hasty) as connection:
        came, seconds = dribble(connection, head, b"x" if head else b"")
    assert came == b""
    assert SECONDS - 0.1 < seconds < SECONDS + 2


def test_an_endless_body_is_answered_and_disconnected(hasty: Server) -> None:
    """A body sent byte by byte is answered 504 at the deadline, and disconnected after another."""
    head = (
        b"POST /image_recognition HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
    )
    with connect(hasty) as connection:
        came, seconds = dribble(connection, head, b" ")
    assert came.startswith(b"HTTP/1.1 504")
    assert 2 * SECONDS - 0.1 < seconds < 2 * SECONDS + 2


def open_files(server: Server) -> int:
    """Return how many files and connections the server has open."""
    shown = httpx.get(f"{server.url}/metrics").text
    return int(float(re.findall(r"^process_open_fds (\S+)", shown, re.MULTILINE)[0]))


def test_a_client_that_does_not_read_is_disconnected(hasty: Server) -> None:
    """A client that requests much and reads nothing is disconnected."""
    before = open_files(hasty)
    with connect(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
        time.sleep(SECONDS / 2)
        assert open_files(hasty) > before
        time.sleep(2 * SECONDS)
        assert open_files(hasty) == before


def test_slow_clients_do_not_take_places_from_others(hasty: Server) -> None:
    """With more slow bodies than places in the queue, other clients are still answered."""
    head = (
        b"POST /image_recognition HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
    )
    slow = [connect(hasty) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(head + b'{"img": "')
        answer = httpx.post(f"{hasty.url}/image_recognition", json={"img": "!"})
        assert answer.json()["error"]["code"] == "invalid_base64"
        assert httpx.get(f"{hasty.url}/readyz").status_code == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"GET / HTTP/1.1\r\n", b"X: "),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000),
        (b"GET ", b"/"),
        (CHUNKED + b"\r\n", b"1;"),
    ],
    ids=["one header", "many headers", "address", "extension of a chunk"],
)
def test_a_head_that_is_too_large_is_refused(hasty: Server, head: bytes, rest: bytes) -> None:
    """A head beyond 64 KiB is answered with the common error object, and disconnected."""
    with connect(hasty) as connection:
        connection.sendall(head)
        time.sleep(0.1)
        counted = 0 if head.endswith(b"\r\n\r\n") else len(head)
        came, seconds = dribble(connection, rest.ljust(65_537 - counted, b"y"), b"")
    assert came.startswith(b"HTTP/1.1 431")
    body = ErrorResponse.model_validate_json(came.partition(b"\r\n\r\n")[2])
    assert body.error.code == "request_header_fields_too_large"
    assert seconds < SECONDS


@pytest.mark.parametrize(
    "flood", [b"GET / HTTP/1.1\r\nX: " + b"y" * 50_000_000, CHUNKED + b"\r\n" + b"1\r\na\r\n" * 8_000_000]
)
def test_a_client_that_keeps_sending_is_disconnected(hasty: Server, flood: bytes) -> None:
    """The server does not read 50 MB of a head, or of one-byte chunks, but disconnects."""
    with connect(hasty) as connection, pytest.raises(ConnectionError):
        connection.sendall(flood)


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"]
)
def test_non_http_gets_the_common_error_object(hasty: Server, sent: bytes) -> None:
    """Bytes that are not HTTP are answered with the common error object, and disconnected."""
    with connect(hasty) as connection:
        came, _ = dribble(connection, sent, b"")
    head, _, body = came.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/json" in head
    assert ErrorResponse.model_validate(json.loads(body)).error.code == "invalid_request"
    own_id = re.findall(rb"x-request-id: (\w+)", head)[0].decode()
    lines = [line for line in hasty.log.splitlines() if own_id in line]
    assert len(lines) == 1
    assert re.search(r"client=127\.0\.0\.1:\d+ status=400 code=invalid_request", lines[0])
    assert "Invalid HTTP request received" not in hasty.log


@pytest.mark.parametrize(("path", "status"), [(b"/image_recognition", b"405"), (b"/nothing", b"404")])
def test_a_websocket_handshake_is_an_ordinary_request(hasty: Server, path: bytes, status: bytes) -> None:
    """There are no WebSockets: a handshake gets the common error object."""
    handshake = (
        b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with connect(hasty) as connection:
        came, _ = dribble(connection, handshake, b"")
    head, _, body = came.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    ErrorResponse.model_validate(json.loads(body))


def h2c(body: bytes, framing: bytes = b"") -> bytes:
    """Return a request with ``body`` that asks for HTTP/2, as Java's HttpClient and ``curl --http2`` do."""
    return (
        b"POST /image_recognition HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
        + (framing or b"Content-Length: %d\r\n" % len(body))
        + b"\r\n"
        + body
    )


NOT_BASE64 = b'{"img": "!"}'
CHUNKS = b"5\r\n" + NOT_BASE64[:5] + b"\r\n7\r\n" + NOT_BASE64[5:] + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [h2c(NOT_BASE64), h2c(CHUNKS, b"Transfer-Encoding: chunked\r\n")],
    ids=["with its length", "chunked"],
)
@pytest.mark.parametrize("size", [1, 40, 1000], ids=["by the byte", "in pieces", "at once"])
def test_an_unsupported_upgrade_is_ignored(hasty: Server, sent: bytes, size: int) -> None:
    """The body of a request that asks for HTTP/2, and the next request, are read, however the bytes arrive."""
    twice = sent + sent
    with connect(hasty) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(twice), size):
            connection.sendall(twice[start : start + size])
        came, _ = dribble(connection, LAST, b"")
    assert came.count(b"HTTP/1.1 200") == 1
    assert came.count(b"HTTP/1.1 400") == came.count(b'"code":"invalid_base64"') == 2


def test_a_request_after_an_upgrade_is_answered(hasty: Server) -> None:
    """No pipelined request is lost, with or without a request to upgrade."""
    plain = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    asking = plain[:-2] + b"Connection: keep-alive, upgrade\r\nUpgrade: TLS/1.0, h2c\r\n\r\n"
    with connect(hasty) as connection:
        came, _ = dribble(connection, h2c(NOT_BASE64) + plain + asking + asking + LAST, b"")
    assert came.count(b"HTTP/1.1 200") == 4
    assert came.count(b"invalid_base64") == 1


def test_a_tunnel_is_refused(hasty: Server) -> None:
    """CONNECT, with or without an upgrade, is answered with an error."""
    for more in (b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"):
        with connect(hasty) as connection:
            came, _ = dribble(connection, b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n", b"")
        assert came.startswith(b"HTTP/1.1 4")


def test_a_body_in_very_many_pieces_is_refused(hasty: Server) -> None:
    """One-byte chunks, which would keep the event loop busy, are answered 400, and disconnected."""
    with connect(hasty) as connection:
        came, _ = dribble(connection, CHUNKED + b"\r\n" + b"1\r\na\r\n" * 200, b"")
    assert came.startswith(b"HTTP/1.1 400")
    assert ErrorResponse.model_validate_json(came.partition(b"\r\n\r\n")[2]).error.code == "invalid_request"


def test_a_body_in_chunks_of_reasonable_size_is_read(hasty: Server) -> None:
    """Chunks of a hundred bytes are read: the answer is about their contents."""
    with connect(hasty) as connection:
        chunks = (b"64\r\n" + b"a" * 100 + b"\r\n") * 2_000 + b"0\r\n\r\n"
        connection.sendall(CHUNKED + b"Connection: close\r\n\r\n" + chunks)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


def test_a_few_pipelined_requests_are_answered(hasty: Server) -> None:
    """Pipelined requests are answered in order; too many end the connection."""
    with connect(hasty) as connection:
        came, _ = dribble(connection, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 9 + LAST, b"")
    assert came.count(b"HTTP/1.1 200") == 10
    with connect(hasty) as connection:
        came, _ = dribble(connection, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 1000, b"")
    assert came.count(b"HTTP/1.1 200") < 100


def test_a_connection_can_be_reused(hasty: Server) -> None:
    """The timers of one request do not end the next one on the same connection."""
    with httpx.Client(base_url=hasty.url) as client:
        for _ in range(8):
            assert client.get("/livez").status_code == 200
            time.sleep(SECONDS / 4)


def test_overload_is_refused_and_waiting_ends(hasty: Server) -> None:
    """With a full queue, the next request gets 429; a long wait ends with 504; then requests are answered again."""
    request = {"img": base64.b64encode(saved(Image.new("RGB", (7000, 7000)))).decode(), "gradcam": False}

    def post(_: int) -> httpx.Response:
        return httpx.post(f"{hasty.url}/image_recognition", json=request, timeout=60)

    with ThreadPoolExecutor(12) as threads:
        responses = list(threads.map(post, range(12)))
    refused = [response for response in responses if response.status_code != 200]
    codes = {ErrorResponse.model_validate_json(response.content).error.code for response in refused}
    assert codes == {"busy", "timeout"}
    assert {response.headers.get("retry-after") for response in refused if response.status_code == 429} == {"1"}
    after = httpx.post(
        f"{hasty.url}/image_recognition_file", files={"img": PACKAGED_PHOTOS[0].read_bytes()}, timeout=60
    )
    assert after.json()["result"] == "tiger cat"
