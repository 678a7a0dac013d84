"""Reading bodies and forms within limits."""

import asyncio
import gzip
import zlib
from collections.abc import Iterable

import pytest
from starlette.requests import Request

from src.api.body import FORM, IMAGE_ITSELF, JSON, decompressed, is_compressed, read_body
from src.api.endpoints import _parsed
from src.api.schemas.requests import BatchRequest, RecognitionRequest
from src.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from src.options import Options
from tests.cost import cost_of


def request(chunks: Iterable[bytes], headers: dict[str, str], query: str = "") -> tuple[Request, list[bytes]]:
    """Return a request whose body arrives in ``chunks``, and the list of those that were taken."""
    waiting, taken = list(chunks), []

    async def receive() -> dict[str, object]:
        taken.append(waiting.pop(0))
        return {"type": "http.request", "body": taken[-1], "more_body": bool(waiting)}

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "headers": raw, "query_string": query.encode()}
    return Request(scope, receive), taken


def read(chunks: Iterable[bytes], limit: int, **headers: str) -> bytes:
    """Return what read_body makes of a JSON request."""
    asked, _ = request(chunks, {"Content-Type": "application/json"} | headers)
    return asyncio.run(read_body(asked, (JSON,), limit))


def test_a_body_of_many_chunks_is_joined() -> None:
    """The chunks of a body are joined, up to exactly the limit."""
    assert read([b"ab", b"", b"cd"], 4) == b"abcd"


def test_a_body_that_announces_too_much_is_not_read() -> None:
    """A Content-Length above the limit is refused before any byte is read."""
    asked, taken = request([b"x"], {"Content-Type": "application/json", "Content-Length": "5"})
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(asked, (JSON,), 4))
    assert not taken


@pytest.mark.parametrize("length", [None, "1", "-1", "nonsense"])
def test_reading_stops_at_the_limit(length: str | None) -> None:
    """Reading stops at the first chunk above the limit, whatever the Content-Length says."""
    headers = {"Content-Type": "application/json"} | ({"Content-Length": length} if length else {})
    asked, taken = request([b"abc", b"def", b"ghi", b"jkl"], headers)
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(asked, (JSON,), 4))
    assert taken == [b"abc", b"def"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(media_type: str) -> None:
    """A body of another type is refused with the accepted types."""
    with pytest.raises(UnsupportedMediaType, match="send a body of the type application/json"):
        read([b"{}"], 10, **{"Content-Type": media_type})


def test_parameters_and_case_of_the_content_type_do_not_matter() -> None:
    """A charset in the Content-Type, or capital letters, are ignored."""
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
def test_a_request_of_very_many_values_is_refused_early(body: bytes, model: type[Options]) -> None:
    """Millions of values, or of nested brackets, are refused without creating an object for each."""

    def parse() -> None:
        with pytest.raises(InvalidRequest):
            _parsed(model, body, 64)

    cost = cost_of(parse)
    assert cost.seconds < 0.2
    assert cost.bytes < 10_000_000


def test_a_full_batch_of_data_urls_is_accepted() -> None:
    """A batch of the maximum number of images, each as a data: URL, is parsed."""
    body = BatchRequest(imgs=["data:image/png;base64,AAAA"] * 64).model_dump_json().encode()
    assert len(_parsed(BatchRequest, body, 64).imgs) == 64


@pytest.mark.parametrize(
    "body",
    [
        rb'{"img": "AAAA", "img": "BBBB"}',
        rb'{"img": "data:image/png;base64,AAAA", "top_k": 1, "top_k": 1}',
        rb'{"img": "AAAA", "top_k": 1, "to\u0070_k" : 2}',
        rb'{"imgs": ["AAAA"], "imgs": ["BBBB"]}',
    ],
)
def test_a_field_that_json_has_twice_is_refused(body: bytes) -> None:
    """The last one would win without a word; a form refuses it, too."""
    with pytest.raises(InvalidRequest, match=r"(img|imgs|top_k)' is sent twice: send each field once"):
        _parsed(BatchRequest if b"imgs" in body else RecognitionRequest, body, 1)


def test_colons_in_values_are_no_fields() -> None:
    """Data: URLs, and classes with colons and quotes in their names, are read like any others."""
    body = rb'{"img": "data:image/png;base64,AAAA", "target": ":a\": b\\", "versus": "img"}'
    asked = _parsed(RecognitionRequest, body, 1)
    assert (asked.target, asked.versus) == (':a": b\\', "img")


def test_a_byte_order_mark_before_json_is_ignored() -> None:
    """A request saved as "UTF-8 with BOM" is read like any other."""
    assert _parsed(RecognitionRequest, b'\xef\xbb\xbf{"img": "AAAA"}', 1).img == "AAAA"


@pytest.mark.parametrize("content_type", [JSON, f"{FORM}; boundary=x"])
def test_options_in_the_query_are_refused(content_type: str) -> None:
    """Options in the query, which would be ignored, are refused before the body is read, misspelled or not."""
    for query in ("top_k=1", "topk=1", "img=", "?top_k"):
        asked, taken = request([b"{}"], {"Content-Type": content_type}, query)
        with pytest.raises(InvalidRequest, match="send options as fields of the"):
            asyncio.run(read_body(asked, (JSON, FORM), 10))
        assert not taken


@pytest.mark.parametrize("content_type", ["image/jpeg", "Image/X-Anything; a=b", "application/octet-stream"])
def test_an_image_as_the_body_may_have_options_in_the_query(content_type: str) -> None:
    """A body of any image or binary type is accepted if the route allows it."""
    asked, _ = request([b"ab", b"cd"], {"Content-Type": content_type}, "top_k=1")
    assert asyncio.run(read_body(asked, (FORM, *IMAGE_ITSELF), 10)) == b"abcd"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity, gzip"])
def test_gzip_is_recognized(encoding: str) -> None:
    """Gzip is recognized in upper and lower case."""
    assert is_compressed(request([], {"Content-Encoding": encoding})[0])


@pytest.mark.parametrize("encoding", [None, "", "identity", "utf-8"])
def test_other_bodies_are_not_compressed(encoding: str | None) -> None:
    """A missing encoding, or one that means none, leaves the body unchanged."""
    assert not is_compressed(request([], {"Content-Encoding": encoding} if encoding is not None else {})[0])


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "br, gzip"])
def test_another_encoding_is_refused_by_name(encoding: str) -> None:
    """Another compression is refused before the body is read, with what to do instead."""
    asked, taken = request([b"x"], {"Content-Type": JSON, "Content-Encoding": encoding})
    with pytest.raises(UnsupportedMediaType, match=f"{encoding}.*: send the body uncompressed or with gzip"):
        asyncio.run(read_body(asked, (JSON,), 10))
    assert not taken


def test_a_gzip_body_is_decompressed_up_to_the_limit() -> None:
    """The body may decompress to exactly the limit; one more byte is too large, whatever its compressed size."""
    assert decompressed(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000
    with pytest.raises(BodyTooLarge):
        decompressed(gzip.compress(b"x" * 1001), 1000)


def test_a_decompression_bomb_costs_little() -> None:
    """A hundred megabytes in a hundred kilobytes cost no more than the limit."""
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(bytes(10_000_000)) for _ in range(10)) + bomb.flush()

    def unpack() -> None:
        with pytest.raises(BodyTooLarge):
            decompressed(packed, 1_000_000)

    cost = cost_of(unpack)
    assert cost.seconds < 0.1
    assert cost.bytes < 10_000_000


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") * 2, gzip.compress(b"{}")[:-8] + bytes(8)],
    ids=["empty", "plain", "cut off", "two files", "wrong checksum"],
)
def test_an_invalid_gzip_body_is_explained(body: bytes) -> None:
    """A body that is not gzip, or not complete, is an error of the client."""
    with pytest.raises(InvalidRequest, match="gzip"):
        decompressed(body, 1000)
