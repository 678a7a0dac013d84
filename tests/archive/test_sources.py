"""Test which sources are found in an archive."""

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.archive.crew import deal
from src.archive.sources import Source, image_column, list_sources
from src.errors import ArchiveError

pytestmark = pytest.mark.bulk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images, archives, a metadata file, and hidden files and folders."""
    files = ("b.jpg", "a/c.PNG", "a/no-suffix", "a/labels.json", ".hidden/d.jpg", "a/.e.jpg", "shard.tar", "old.zip")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def addresses(archive: str | Path) -> list[str]:
    """Return the addresses of the sources of ``archive``."""
    return [source.address for source in list_sources(str(archive))]


def test_a_folder_yields_every_file_except_hidden_ones_and_metadata(folder: Path) -> None:
    """Files without a suffix count as images, and so do ZIP files, so that none is skipped silently."""
    expected = [str(folder / name) for name in ("a/c.PNG", "a/no-suffix", "b.jpg", "old.zip", "shard.tar")]
    assert addresses(folder) == expected
    assert [source.images for source in list_sources(str(folder))] == [1, 1, 1, 1, None]


def test_a_folder_that_may_not_be_listed_is_not_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes an error when it is read, so that the summary counts it; all of INPUT is refused at once."""
    listed, closed = os.scandir, folder / "a"

    def refused(path: str) -> Any:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr("os.scandir", refused)
    assert addresses(folder) == [str(folder / name) for name in ("a", "b.jpg", "old.zip", "shard.tar")]
    closed = folder
    with pytest.raises(ArchiveError, match=r"cannot be read \(PermissionError"):
        addresses(folder)


def test_a_link_to_a_folder_is_not_left_out(folder: Path) -> None:
    """It is not followed, as it may lead in a circle, and becomes an error when it is read."""
    (folder / "a" / "linked").symlink_to(folder)
    assert str(folder / "a" / "linked") in addresses(folder)


def test_a_pattern_and_a_list_yield_each_file_once(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """``**`` matches folders at any depth, and a list may name a file twice."""
    assert addresses(folder / "**" / "*.PNG") == [str(folder / "a" / "c.PNG")]
    assert addresses(folder / "**" / "*.jpg") == [str(folder / "b.jpg")]
    assert addresses(folder / ".hidden" / "*.jpg") == [str(folder / ".hidden" / "d.jpg")]
    listed = tmp_path_factory.mktemp("lists") / "list.txt"
    listed.write_text(f"{folder}/b.jpg\n\ns3://bucket/x.jpg\n{folder}/b.jpg\n")
    assert addresses(listed) == [f"{folder}/b.jpg", "s3://bucket/x.jpg"]


def test_a_pattern_in_a_store_asks_nothing_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a million objects in one folder, S3's ``isdir`` would look through half a million entries each time."""
    store, asked = fsspec.filesystem("memory"), list[str]()
    is_folder = store.isdir

    def counted(_: Any, path: str) -> bool:
        asked.append(path)
        return bool(is_folder(path))

    monkeypatch.setattr(type(store), "isdir", counted)
    store.pipe({f"/pattern/{index}.jpg": b"" for index in range(20)} | {"/pattern/folder/a.txt": b""})
    assert len(addresses("memory://pattern/*")) == 20
    assert len(asked) < 20


def test_an_object_that_stands_for_a_folder_is_no_image(bucket: Any) -> None:
    """The S3 console writes one, with a slash at its end, when a folder is created."""
    for key in ("in/", "in/more/", "in/more/a.jpg"):
        bucket.put_object(Bucket="archive", Key=key, Body=b"")
    for archive in ("s3://archive", "s3://archive/in/", "s3://archive/**"):
        assert addresses(archive) == ["s3://archive/in/more/a.jpg"]


def test_what_an_earlier_run_wrote_is_not_in_the_archive(folder: Path) -> None:
    """A pattern may match the heatmaps and the histogram of the output."""
    for name in ("out/_heatmaps/00/0.PNG", "out/_summary/classes.PNG", "outer/f.PNG"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    sources = list_sources(str(folder / "**" / "*.PNG"), str(folder / "out"))
    assert [source.address for source in sources] == [str(folder / "a" / "c.PNG"), str(folder / "outer" / "f.PNG")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_may_be_written_on_windows(tmp_path: Path, encoding: str) -> None:
    """With a byte order mark, in the encoding of PowerShell, and with line ends of two characters."""
    (tmp_path / "list.txt").write_bytes("/grün.jpg\r\n/b.jpg\r\n".encode(encoding))
    assert addresses(tmp_path / "list.txt") == ["/grün.jpg", "/b.jpg"]


def test_a_list_may_hold_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """As ``find`` writes them."""
    (tmp_path / "list.txt").write_bytes(b"/gr\xfcn.jpg\n")
    assert addresses(tmp_path / "list.txt") == [os.fsdecode(b"/gr\xfcn.jpg")]


def test_a_listed_table_without_access_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores raise errors of their own, such as one of botocore where there are no credentials."""

    def refused(_: object) -> None:
        raise RuntimeError("Unable to locate credentials")

    pq.write_table(pa.table({"image": [b"1"]}), tmp_path / "table.parquet")
    (tmp_path / "list.txt").write_text(str(tmp_path / "table.parquet"))
    monkeypatch.setattr("pyarrow.parquet.read_metadata", refused)
    with pytest.raises(ArchiveError, match="Unable to locate credentials"):
        addresses(tmp_path / "list.txt")


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    """An empty folder, a missing folder and a pattern without matches are refused."""
    for archive in (tmp_path, tmp_path / "missing", tmp_path / "*.jpg"):
        with pytest.raises(ArchiveError, match="no images"):
            list_sources(str(archive))


def test_small_row_groups_are_combined_and_cover_a_parquet_file(tmp_path: Path) -> None:
    """Row groups are combined up to 512 rows or more per source, and every row is in exactly one source."""
    file = tmp_path / "images.parquet"
    table = pa.table({"id": range(2000), "image": [{"bytes": b"", "path": ""}] * 2000})
    pq.write_table(table, file, row_group_size=300)
    sources = list_sources(str(file))
    assert [(source.first, source.images, source.groups) for source in sources] == [
        (0, 600, (0, 2)),
        (600, 600, (2, 4)),
        (1200, 600, (4, 6)),
        (1800, 200, (6, 7)),
    ]
    assert len({source.name for source in sources}) == len(sources)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "label": pa.int64()}, "image.bytes"),
        ({"thumbnail": pa.binary(), "image": pa.large_binary()}, "image"),
        ({"pixels": pa.binary(), "name": pa.string()}, "pixels"),
        ({"first": pa.binary(), "second": pa.binary()}, None),
        ({"image": pa.string()}, None),
    ],
)
def test_the_image_column_is_found_by_its_type_and_name(columns: dict[str, pa.DataType], expected: str | None) -> None:
    """There is no result if several columns could be it."""
    assert image_column(pa.schema(columns)) == expected


def test_a_table_without_images_says_how_to_leave_it_out(folder: Path) -> None:
    """Folders of images often have a table of their labels."""
    pq.write_table(pa.table({"file": ["b.jpg"], "label": [1]}), folder / "metadata.parquet")
    with pytest.raises(ArchiveError, match=r"metadata.parquet has no column .* leave a file without images out"):
        addresses(folder)
    assert addresses(folder / "**" / "*.jpg") == [str(folder / "b.jpg")]


def test_parts_contain_every_source_once_and_keep_all_workers_busy() -> None:
    """Few images make small parts, many make parts of up to 512; a shard is a part of its own."""
    images = [Source(str(index)) for index in range(10_000)]
    shard = Source("a.tar", "tar", None)
    for sources, most, expected in (
        (images[:0], 512, 1),
        (images[:100], 512, 15),
        (images[:1000], 512, 59),
        (images, 512, 500),
        (images, 1, 1),
    ):
        parts = deal([*sources[:50], shard, *sources[50:]], 2, most)
        assert sorted(one.name for part in parts for one in part) == sorted([*(one.name for one in sources), "a.tar"])
        assert max(map(len, parts)) == expected
        assert [shard] in parts


def test_no_part_is_a_single_image_unless_all_are() -> None:
    """A node that cannot read the archive would write an error for it, and the same command never tries it again."""
    for number in (2, 17, 33, 513, 1001, 9985):
        assert min(map(len, deal([Source(str(index)) for index in range(number)], 2))) > 1
