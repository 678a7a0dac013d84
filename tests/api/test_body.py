"""Reading bodies and forms within limits."""

import asyncio
import tempfile
from collections.abc import Iterable

import httpx
import pytest
from starlette.requests import Request

from src.api.body import FileUpload, read_body, read_form
from src.api.endpoints import _parsed
from src.api.schemas import BatchRequest, RecognitionRequest
from src.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from src.options import Colormap, Options
from tests.cost import cost_of


def request(chunks: Iterable[bytes], headers: dict[str, str]) -> tuple[Request, list[bytes]]:
    """Return a request whose body arrives in ``chunks``, and the list of those that were taken."""
    waiting, taken = list(chunks), []

    async def receive() -> dict[str, object]:
        taken.append(waiting.pop(0))
        return {"type": "http.request", "body": taken[-1], "more_body": bool(waiting)}

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive), taken


def read(chunks: Iterable[bytes], limit: int, **headers: str) -> bytes:
    """Return what read_body makes of a JSON request."""
    asked, _ = request(chunks, {"Content-Type": "application/json"} | headers)
    return asyncio.run(read_body(asked, "application/json", limit))


def form(fields: dict[str, str], files: dict[str, bytes], limit: int = 1_000_000) -> FileUpload:
    """Return what read_form makes of a form as httpx writes it."""
    sent = httpx.Request("POST", "http://test", data=fields, files=files or {"": b""})
    asked, _ = request([sent.read()], dict(sent.headers))
    return asyncio.run(read_form(asked, limit))


def test_a_body_of_many_chunks_is_whole() -> None:
    """The chunks of a body are put together up to exactly the limit."""
    assert read([b"ab", b"", b"cd"], 4) == b"abcd"


def test_a_body_that_announces_too_much_is_not_read() -> None:
    """A Content-Length above the limit is refused before a byte is read."""
    asked, taken = request([b"x"], {"Content-Type": "application/json", "Content-Length": "5"})
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(asked, "application/json", 4))
    assert not taken


@pytest.mark.parametrize("length", [None, "1", "-1", "nonsense"])
def test_a_body_that_lies_about_its_length_is_cut_off(length: str | None) -> None:
    """Reading stops at the first chunk above the limit, whatever the Content-Length says."""
    headers = {"Content-Type": "application/json"} | ({"Content-Length": length} if length else {})
    asked, taken = request([b"abc", b"def", b"ghi", b"jkl"], headers)
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(asked, "application/json", 4))
    assert taken == [b"abc", b"def"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(media_type: str) -> None:
    """A body of another type is refused with the type that is wanted."""
    with pytest.raises(UnsupportedMediaType, match="send a body of the type application/json"):
        read([b"{}"], 10, **{"Content-Type": media_type})


def test_parameters_and_case_of_the_content_type_do_not_matter() -> None:
    """A charset behind the type, or capital letters in it, change nothing."""
    assert read([b"{}"], 10, **{"Content-Type": "Application/JSON; charset=utf-8"}) == b"{}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"imgs": [' + b"1," * 10_000_000 + b"1]}",
        b'{"imgs": [' + b'"",' * 6_000_000 + b'""]}',
        b'{"img": "x", "more": [' + b"[]," * 6_000_000 + b"[]]}",
        b"{" + b'"key": 0, ' * 2_000_000 + b'"img": "x"}',
        b'{"img": ' + b"[" * 20_000_000,
        b'{"img": ' * 2_500_000,
    ],
    ids=["numbers", "texts", "lists", "fields", "deep lists", "deep objects"],
)
@pytest.mark.parametrize("model", [RecognitionRequest, BatchRequest])
def test_a_request_of_very_many_values_is_refused_at_once(body: bytes, model: type[Options]) -> None:
    """Millions of values, or of brackets within brackets, are refused without an object for each."""

    def parse() -> None:
        with pytest.raises(InvalidRequest):
            _parsed(model, body, 64)

    cost = cost_of(parse)
    assert cost.seconds < 0.2
    assert cost.bytes < 10_000_000


def test_a_batch_of_data_urls_has_not_too_many_values() -> None:
    """A batch of as many images as are accepted, each as a data: URL, is parsed."""
    body = BatchRequest(imgs=["data:image/png;base64,AAAA"] * 64).model_dump_json().encode()
    assert len(_parsed(BatchRequest, body, 64).imgs) == 64


def test_a_form_holds_a_file_and_options() -> None:
    """The file comes out byte for byte and the fields as options of their types."""
    fields = {"top_k": "3", "alpha": "0.5", "gradcam": "false", "colormap": "turbo", "target": "tiger cat"}
    upload = form(fields, {"img": b"\x00\xff" * 2_000_000}, limit=5_000_000)
    assert upload.data == b"\x00\xff" * 2_000_000
    assert upload.options == Options(top_k=3, alpha=0.5, gradcam=False, colormap=Colormap.TURBO, target="tiger cat")


@pytest.mark.parametrize(
    ("text", "target"),
    [("7", 7), ('"7"', "7"), ("tiger cat", "tiger cat"), ('"tiger cat"', "tiger cat"), ("null", None)],
)
def test_a_target_in_a_form_is_a_label_or_an_index(text: str, target: str | int | None) -> None:
    """Digits are an index; a text in quotes, as BentoML's client sends it, is always a label."""
    assert form({"target": text}, {"img": b"x"}).options.target == target


@pytest.mark.parametrize(
    ("fields", "files", "message"),
    [
        ({}, {}, "no file called img"),
        ({"img": "text"}, {"photo": b"x"}, "no file called img"),
        ({"top_k": "many"}, {"img": b"x"}, "top_k"),
        ({"alpha": "2"}, {"img": b"x"}, "alpha"),
        ({"topk": "3"}, {"img": b"x"}, "topk: there is no such field"),
        ({}, {"img": b""}, "is empty"),
        ({"foo": "null"}, {"img": b"x"}, "foo: there is no such field"),
        ({}, {"img": b"x", "second": b"y"}, "send one file"),
        ({"target": "x" * 5000}, {"img": b"x"}, "short option fields"),
        ({f"field{index}": "" for index in range(40)}, {"img": b"x"}, "Too many fields"),
    ],
)
def test_a_wrong_form_is_explained(fields: dict[str, str], files: dict[str, bytes], message: str) -> None:
    """A form without the file, with two, or with wrong fields is an error that says what to send."""
    with pytest.raises(InvalidRequest, match=message):
        form(fields, files)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=other"])
def test_a_form_without_its_boundary_is_explained(content_type: str) -> None:
    """A body that cannot be taken apart is a mistake of the sender, not of the service."""
    asked, _ = request([b"--x\r\nnonsense"], {"Content-Type": content_type})
    with pytest.raises(InvalidRequest):
        asyncio.run(read_form(asked, 1000))


def test_a_form_is_limited_as_a_whole() -> None:
    """File and fields together must stay within the limit."""
    with pytest.raises(BodyTooLarge):
        form({}, {"img": b"x" * 1000}, limit=1000)


def test_a_form_is_never_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of several megabytes is read although there is no folder that it could be spooled to."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(OSError, match="nowhere"):
        tempfile.TemporaryFile().close()
    assert len(form({}, {"img": b"x" * 3_000_000}, limit=4_000_000).data) == 3_000_000


def test_a_form_with_a_field_twice_is_refused() -> None:
    """Which of two values is meant cannot be known."""
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n1\r\n' % (name, file)
        for name, file in ((b"top_k", b""), (b"top_k", b""), (b"img", b'; filename="a"'))
    )
    asked, _ = request([body + b"--x--\r\n"], {"Content-Type": "multipart/form-data; boundary=x"})
    with pytest.raises(InvalidRequest, match="twice"):
        asyncio.run(read_form(asked, 1000))
