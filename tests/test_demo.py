"""The demo, as people run it."""

import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image

from src import demo
from tests.places import PACKAGED_PHOTOS
from tests.serving import Server


def test_the_demo_shows_classes_and_writes_the_image(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without arguments but the address it recognizes a photo, prints a table, and says where the image is."""
    out = tmp_path / "new" / "heat.jpg"
    assert demo.main(["--url", server.url, "--out", str(out)]) == 0
    table = capsys.readouterr().out
    assert "tiger cat" in table
    assert "all others" in table
    assert str(out) in table
    with Image.open(out) as image:
        assert image.size == (451, 300)


def test_any_photo_can_be_shown(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A photo of the person's own is recognized."""
    assert demo.main([str(PACKAGED_PHOTOS[1]), "--url", server.url, "--out", str(tmp_path / "heat.jpg")]) == 0
    assert "espresso" in capsys.readouterr().out


def test_the_demo_says_in_words_how_sure_the_answer_is() -> None:
    """It says that an image is unlike what was taught, and which classes hold the right one; else nothing."""
    unlike = {"familiar": False, "set": ["bus", "car"], "coverage": 90}
    assert list(demo._confidence(unlike)) == [
        "This does not resemble the images that the model has learned.",
        "In 90 % of all cases the right class is among: bus, car",
    ]
    assert not list(demo._confidence({"familiar": True, "set": None, "coverage": None}))


@pytest.mark.parametrize(("content", "message"), [(b"text", "not of an accepted format"), (None, "No such file")])
def test_a_wrong_file_is_explained(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    """A file that is no image, or not there, ends with one sentence and exit code 2."""
    photo = tmp_path / "photo.jpg"
    if content is not None:
        photo.write_bytes(content)
    assert demo.main([str(photo), "--url", server.url]) == 2
    assert message in capsys.readouterr().err


def test_a_url_may_end_with_a_slash(server: Server, tmp_path: Path) -> None:
    """As browsers show it."""
    assert demo.main([str(PACKAGED_PHOTOS[0]), "--url", f"{server.url}/", "--out", str(tmp_path / "out.jpg")]) == 0


def test_a_url_that_is_none_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """A port in letters is not one."""
    assert demo.main([str(PACKAGED_PHOTOS[0]), "--url", "http://localhost:port"]) == 2
    assert "http://localhost:port does not answer (Invalid port: 'port')" in capsys.readouterr().err


def test_without_a_service_it_says_what_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing listens the demo names the command that starts the service."""
    assert demo.main(["--url", "http://127.0.0.1:1"]) == 2
    assert "make serve" in capsys.readouterr().err


class _AnswersSomethingElse(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Answer with a list."""
        self.server.key = self.headers["Authorization"]  # type: ignore[attr-defined] # for the test
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")


def test_another_service_is_recognized(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that answers something else is named, without a traceback."""
    with socketserver.TCPServer(("127.0.0.1", 0), _AnswersSomethingElse) as other:
        threading.Thread(target=other.handle_request).start()
        assert demo.main(["--url", f"http://127.0.0.1:{other.server_address[1]}"]) == 2
    assert "is another service" in capsys.readouterr().err


def test_the_key_of_the_service_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo takes the key from the variable that gives it to the service, and sends none where there is none."""
    for key, header in (("0123456789abcdef", "Bearer 0123456789abcdef"), ("", None)):
        monkeypatch.setenv("IMAGE_RECOGNITION_API_KEY", key)
        with socketserver.TCPServer(("127.0.0.1", 0), _AnswersSomethingElse) as other:
            threading.Thread(target=other.handle_request).start()
            demo.main(["--url", f"http://127.0.0.1:{other.server_address[1]}"])
            assert other.key == header  # type: ignore[attr-defined] # set by the handler


def test_a_place_that_cannot_be_written_is_explained(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the image cannot be written one sentence says so."""
    assert demo.main(["--url", server.url, "--out", str(tmp_path)]) == 2
    assert "directory" in capsys.readouterr().err
