"""Base64 in all its common variants."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import InvalidBase64
from src.stages.decode import decode_base64


@pytest.mark.parametrize(
    "text",
    [
        "++//QQ==",
        "--__QQ==",
        "++__QQ==",
        "++//QQ",
        "--__QQ",
        "++//\r\nQQ==\n",
        " \t++\f/\v/QQ== ",
        "data:image/png;base64,++//QQ==",
        "data:;base64,++//QQ==",
        "DATA:IMAGE/PNG;BASE64,--__QQ",
        "data:image/png;charset=x;base64,++//QQ==",
        "\n data:image/svg+xml;charset=utf-8;name=a.png;base64,++//\nQQ==",
    ],
)
def test_base64_is_read_in_all_variants(text: str) -> None:
    """Standard and URL-safe alphabets, line breaks, tabs, outer spaces, no padding, data: URLs: all give the same."""
    assert decode_base64(text) == b"\xfb\xef\xff\x41"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \r\n", "empty"),
        ("====", "empty"),
        ("data:image/png;base64,", "empty"),
        ("QUJDé", "not base64"),
        ("QUJD\u00a0", "not base64"),
        ("QUJD\ud800", "not base64"),
        ("hello, world!", "not base64"),
        ("<svg></svg>", "not base64"),
        ("QUI=QUJD", "not base64"),
        ("Q", "not base64"),
        ("QUJDR", "not base64"),
        ("https://example.com/cat.jpg", "never fetched"),
        ("  HTTP://example.com/cat.jpg", "never fetched"),
        ("QUJD QUJD", "space, perhaps where"),
        ("data:image/png;base64,QUJ DQUJD", "space, perhaps where"),
        ("QUJDQUJ ", "space, perhaps where"),
        ("data:image/png,QUJD", "not base64"),
        ("data:image/png;base64;QUJD", "not base64"),
    ],
)
def test_text_that_is_not_base64_is_refused(text: str, message: str) -> None:
    """Text that cannot be base64 is refused with the reason and a remedy."""
    with pytest.raises(InvalidBase64, match=message) as caught:
        decode_base64(text)
    assert "base64" in caught.value.message


@pytest.mark.parametrize("text", ["é" + "A" * 8_000_000, "A" * 8_000_000 + "😀"])
def test_a_long_text_that_is_not_ascii_is_refused_at_once(text: str) -> None:
    """No other thread can run while Python translates a text, so a long one that cannot be base64 is not translated."""
    began = time.thread_time()
    with pytest.raises(InvalidBase64, match="not ASCII"):
        decode_base64(text)
    assert time.thread_time() - began < 0.2  # seconds; translated, at least 0.5


@settings(derandomize=True, database=None, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    altchars=st.sampled_from([b"+/", b"-_"]),
    padded=st.booleans(),
    space=st.text("\t\r\n\f\v", max_size=3),
    width=st.integers(1, 80),
)
def test_base64_round_trip(data: bytes, altchars: bytes, padded: bool, space: str, width: int) -> None:  # noqa: FBT001
    """Base64 text of any bytes is decoded to them, in both alphabets, padded or not, wrapped at any width."""
    text = base64.b64encode(data, altchars).decode()
    text = text if padded else text.rstrip("=")
    wrapped = space + space.join(text[start : start + width] for start in range(0, len(text), width)) + space
    assert decode_base64(text) == data
    assert decode_base64(wrapped) == data
