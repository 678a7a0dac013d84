"""Test reading the bytes of images from files and shards of all kinds, including damaged ones."""

import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.archive.reading import Found, Refusal, read
from src.archive.sources import list_sources

pytestmark = pytest.mark.bulk

MAX_BYTES = 5000


def found(archive: Path) -> list[Found]:
    """Return the images that are read from ``archive``."""
    return list(read(list_sources(str(archive)), MAX_BYTES))


def code(one: Found) -> str | None:
    """Return the error code of ``one``, or None if it was read."""
    return one.content.code if isinstance(one.content, Refusal) else None


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    """Write a tar file with ``members``."""
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))


def test_files_are_read_in_order_and_unreadable_ones_become_errors(tmp_path: Path) -> None:
    """A missing or too large file does not keep the others from being read."""
    for index in range(100):
        (tmp_path / f"{index:03d}.jpg").write_bytes(b"%d" % index)
    (tmp_path / "050.jpg").write_bytes(bytes(MAX_BYTES + 1))
    sources = list_sources(str(tmp_path))
    (tmp_path / "060.jpg").unlink()
    images = list(read(sources, MAX_BYTES))
    assert [one.path for one in images] == [source.address for source in sources]
    assert {index: code(one) for index, one in enumerate(images) if code(one)} == {
        50: "body_too_large",
        60: "unreadable",
    }
    assert images[99].content == b"99"
    assert isinstance(images[50].content, Refusal)
    assert "raise IMAGE_RECOGNITION_MAX_BODY_BYTES" in images[50].content.message


def test_an_empty_object_in_a_store_is_read_like_an_empty_file(bucket: Any) -> None:
    """S3 refuses every range of it; were it unreadable, many of them would end the run."""
    for key in ("0.jpg", "1.jpg"):
        bucket.put_object(Bucket="archive", Key=key, Body=key.encode() * int(key[0]))
    images = read(list_sources("s3://archive"), MAX_BYTES)
    assert [one.content for one in images] == [b"", b"1.jpg"]


def test_a_tar_file_yields_its_images_and_an_error_where_it_is_truncated(tmp_path: Path) -> None:
    """Metadata files are skipped; a truncated shard yields the images before the cut, and one error."""
    file = tmp_path / "shard.tar"
    write_tar(file, {"0.jpg": b"a" * 600, "0.cls": b"1", "1.png": b"b" * 600, "2.jpg": bytes(MAX_BYTES + 1)})
    whole = found(file)
    assert [one.path for one in whole] == [f"{file}#{name}" for name in ("0.jpg", "1.png", "2.jpg")]
    assert [code(one) for one in whole] == [None, None, "body_too_large"]
    content = file.read_bytes()
    for length, images in ((600, 0), (1536, 1), (3000, 1), (3100, 1), (3700, 2)):
        file.write_bytes(content[:length])
        *before, last = found(file)
        assert before == whole[:images], length
        assert code(last) == "unreadable"
    file.write_bytes(b"not a tar file")
    assert [code(one) for one in found(file)] == ["unreadable"]


def test_a_link_in_a_tar_file_is_an_error(tmp_path: Path) -> None:
    """It is not left out silently: GNU tar packs a link for a file that has several names."""
    (tmp_path / "0.jpg").write_bytes(b"1")
    (tmp_path / "1.jpg").hardlink_to(tmp_path / "0.jpg")
    (tmp_path / "2.jpg").symlink_to("0.jpg")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for index in range(3):
            tar.add(tmp_path / f"{index}.jpg", f"{index}.jpg")
    images = found(tmp_path / "shard.tar")
    assert [one.path.rpartition("#")[2] for one in images] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [code(one) for one in images] == [None, "unsupported_image", "unsupported_image"]


def test_names_that_are_not_utf_8_become_text(tmp_path: Path) -> None:
    """Files, and members of tar files, from older systems are read; their paths can be written to Parquet."""
    (tmp_path / os.fsdecode(b"gr\xfcn.jpg")).write_bytes(b"1")
    write_tar(tmp_path / "shard.tar", {os.fsdecode(b"b\xe4r.jpg"): b"2"})
    assert [(one.path, one.content) for one in found(tmp_path)] == [
        (f"{tmp_path}/gr\\xfcn.jpg", b"1"),
        (f"{tmp_path}/shard.tar#b\\xe4r.jpg", b"2"),
    ]
    assert [source.name for source in list_sources(str(tmp_path))] == [
        f"{tmp_path}/gr\\xfcn.jpg",
        f"{tmp_path}/shard.tar",
    ]


def test_names_may_have_colons(tmp_path: Path) -> None:
    """Two of them join the addresses of stores, but not in the names of local files and folders."""
    folder = tmp_path / "a::b"
    folder.mkdir()
    (folder / "c::d.jpg").write_bytes(b"1")
    write_tar(folder / "e::f.tar", {"0.jpg": b"2"})
    pq.write_table(pa.table({"image": [b"3"]}), folder / "g::h.parquet")
    assert [one.content for one in found(folder)] == [b"1", b"2", b"3"]


def test_parquet_rows_are_numbered_and_a_row_without_an_image_is_an_error(tmp_path: Path) -> None:
    """Rows are numbered throughout the file, across its row groups."""
    file = tmp_path / "images.parquet"
    images = [{"bytes": b"%d" % row if row != 700 else None, "path": "x"} for row in range(1200)]
    pq.write_table(pa.table({"image": images}), file, row_group_size=100)
    rows = found(file)
    assert [one.path for one in rows] == [f"{file}#{row}" for row in range(1200)]
    assert {row: code(one) for row, one in enumerate(rows) if code(one)} == {700: "invalid_request"}
    assert rows[1199].content == b"1199"


def test_a_damaged_parquet_file_is_one_error(tmp_path: Path) -> None:
    """A damaged Parquet file does not end the run."""
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 nothing")
    assert [code(one) for one in found(tmp_path)] == ["unreadable"]
