"""Images that are sent as files: forms, and the image as the body itself."""

import tempfile

import httpx
import pytest
from starlette.requests import Request

from src.api.upload import Upload, read_upload
from src.errors import InvalidRequest
from src.options import Colormap, Method, Options
from tests.api.test_body import request
from tests.cost import cost_of

BOUNDARY = "multipart/form-data; boundary=x"


def form(fields: dict[str, str], files: dict[str, bytes], labels: tuple[str, ...] = ()) -> Upload:
    """Return what read_upload makes of a form as httpx writes it."""
    sent = httpx.Request("POST", "http://test", data=fields, files=files or {"": b""})
    return read_upload(request([], dict(sent.headers))[0], sent.read(), labels)


def parts(*dispositions: bytes, data: bytes = b"1") -> bytes:
    """Return a form with the boundary x whose parts have these dispositions, and all the same data."""
    return (
        b"".join(b"--x\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (one, data) for one in dispositions) + b"--x--\r\n"
    )


def asked(content_type: str = BOUNDARY, query: str = "") -> Request:
    """Return the head of a request."""
    return request([], {"Content-Type": content_type}, query)[0]


def test_a_form_has_a_file_and_options() -> None:
    """The file is returned byte for byte, and the fields as options with their types."""
    fields = {"top_k": "3", "alpha": "0.5", "gradcam": "false", "colormap": "turbo", "target": "tiger cat"}
    upload = form(fields, {"img": b"\x00\xff" * 2_000_000})
    assert upload.data == b"\x00\xff" * 2_000_000
    assert upload.options == Options(top_k=3, alpha=0.5, gradcam=False, colormap=Colormap.TURBO, target="tiger cat")


@pytest.mark.parametrize(
    ("text", "target"),
    [("7", 7), ('"7"', "7"), ("tiger cat", "tiger cat"), ('"tiger cat"', "tiger cat"), ("null", None)],
)
def test_a_target_in_a_form_is_a_label_or_an_index(text: str, target: str | int | None) -> None:
    """Digits are an index; quoted text, as sent by BentoML's client, is always a label."""
    assert form({"target": text}, {"img": b"x"}).options.target == target


@pytest.mark.parametrize(
    ("fields", "files", "message"),
    [
        ({}, {}, "no file called img"),
        ({"img": "text"}, {"photo": b"x"}, "not called img"),
        ({"top_k": "many"}, {"img": b"x"}, "top_k"),
        ({"alpha": "2"}, {"img": b"x"}, "alpha"),
        ({"topk": "3"}, {"img": b"x"}, "topk: there is no such field"),
        ({}, {"img": b""}, "is empty"),
        ({"foo": "null"}, {"img": b"x"}, "foo: there is no such field"),
        ({}, {"img": b"x", "second": b"y"}, "not called img"),
        ({"target": "x" * 5000}, {"img": b"x"}, "short option fields"),
        ({"image": "x" * 5000}, {}, "send one file, called img"),
        ({f"field{index}": "" for index in range(40)}, {"img": b"x"}, "Too many fields"),
    ],
)
def test_a_wrong_form_is_explained(fields: dict[str, str], files: dict[str, bytes], message: str) -> None:
    """A form without the file, with two files, or with wrong fields is refused with what to send."""
    with pytest.raises(InvalidRequest, match=message):
        form(fields, files)


@pytest.mark.parametrize("text", ["", "None", "null", "undefined"])
@pytest.mark.parametrize("name", Options.model_fields)
def test_placeholders_for_missing_options_count_as_not_sent(name: str, text: str) -> None:
    """Placeholders such as None leave every option at its default, in a form or a query."""
    assert form({name: text}, {"img": b"x"}).options == Options()
    assert read_upload(asked("image/png", f"{name}={text}"), b"x", ()).options == Options()


def test_a_class_may_be_called_none() -> None:
    """If the model has such a class, it is the target; in quotes it is always a label."""
    labels = ("None", "undefined", "7")
    assert form({"target": "None"}, {"img": b"x"}, labels).options.target == "None"
    assert form({"target": "null"}, {"img": b"x"}, labels).options.target is None
    assert form({"target": '"null"'}, {"img": b"x"}).options.target == "null"
    assert form({"target": "7"}, {"img": b"x"}, labels).options.target == "7"
    assert form({"target": '"7"'}, {"img": b"x"}, labels).options.target == "7"
    assert form({"target": "2"}, {"img": b"x"}, labels).options.target == 2
    assert form({"colormap": "None"}, {"img": b"x"}, labels).options == Options()


def test_an_image_needs_no_file_name() -> None:
    """Clients may send the bytes as a plain field of any length."""
    data = bytes(range(256)) * 100
    assert read_upload(asked(), parts(b'form-data; name="img"', data=data), ()) == Upload(data, Options())


def test_an_image_as_the_body_has_its_options_in_the_query() -> None:
    """The body is the image, byte for byte; the query has typed, percent-encoded options."""
    upload = read_upload(asked("image/jpeg", "top_k=3&gradcam=false&alpha=0.5&target=tiger%20cat"), b"\xff\xd8", ())
    assert upload == Upload(b"\xff\xd8", Options(top_k=3, gradcam=False, alpha=0.5, target="tiger cat"))


@pytest.mark.parametrize("method", ["gradcam++", "gradcam%2B%2B"])
def test_a_method_with_plus_signs_need_not_be_escaped(method: str) -> None:
    """In a query a plus sign means a space, but no method has one."""
    assert read_upload(asked("image/jpeg", f"method={method}"), b"x", ()).options.method is Method.GRADCAM_PLUS_PLUS


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("topk=3", b"x", "topk: there is no such field"),
        ("top_k=many", b"x", "top_k"),
        ("img=x", b"x", "img: there is no such field"),
        ("top_k=1&top_k=2", b"x", "twice"),
        ("", b"", "is empty"),
    ],
)
def test_wrong_options_in_the_query_are_explained(query: str, body: bytes, message: str) -> None:
    """Options in the query are validated as strictly as those of a form."""
    with pytest.raises(InvalidRequest, match=message):
        read_upload(asked("application/octet-stream", query), body, ())


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=other"])
def test_a_form_without_its_boundary_is_explained(content_type: str) -> None:
    """A body that cannot be parsed is an error of the client, not of the service."""
    with pytest.raises(InvalidRequest, match="boundary"):
        read_upload(asked(content_type), b"--x\r\nnonsense", ())


@pytest.mark.parametrize("body", [b"--y", b"--x\r\nna me: x\r\n\r\n", b"--x secret"])
def test_nothing_of_a_malformed_form_is_logged(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The client learns what is wrong; the log has a line of ours, and none of the parser's with bytes of the body."""
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_upload(asked(), body, ())
    assert not caplog.records


@pytest.mark.parametrize(("encoding", "is_text"), [("base64", True), ("Quoted-Printable", True), ("binary", False)])
def test_a_part_that_is_encoded_as_text_is_refused_as_such(encoding: str, is_text: bool) -> None:  # noqa: FBT001
    """It would otherwise be called an image of an unknown format, or be taken for another option."""
    body = parts(b'form-data; name="img"\r\nContent-Transfer-Encoding: %b' % encoding.encode())
    if is_text:
        with pytest.raises(InvalidRequest, match="Content-Transfer-Encoding: send its bytes as they are"):
            read_upload(asked(), body, ())
    else:
        assert read_upload(asked(), body, ()).data == b"1"


@pytest.mark.parametrize("length", range(40, 200, 10))
def test_a_truncated_form_is_refused(length: int) -> None:
    """A truncated form is never accepted as an image, wherever it ends."""
    whole = parts(b'form-data; name="img"; filename="a"', data=b"y" * 150)
    with pytest.raises(InvalidRequest):
        read_upload(asked(), whole[:length], ())


def test_a_form_is_never_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of several megabytes is read although there is no folder to spool it to."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(OSError, match="nowhere"):
        tempfile.TemporaryFile().close()
    assert len(form({}, {"img": b"x" * 3_000_000}).data) == 3_000_000


@pytest.mark.parametrize("names", [(b"top_k", b"top_k", b"img"), (b"img", b"img")])
def test_a_form_with_a_field_twice_is_refused(names: tuple[bytes, ...]) -> None:
    """It is unknown which of two values is meant."""
    with pytest.raises(InvalidRequest, match="twice"):
        read_upload(asked(), parts(*(b'form-data; name="%b"' % name for name in names)), ())


def test_a_form_of_very_many_pieces_costs_little() -> None:
    """Twenty megabytes that resemble boundaries throughout are read within a few seconds of one thread."""
    data = b"\r\n--y" * 4_000_000
    cost = cost_of(lambda: read_upload(asked(), parts(b'form-data; name="img"', data=data), ()))
    assert cost.seconds < 5
