"""Test one worker, without a cluster."""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.archive.assignment import Assignment, Crew
from src.archive.output import Output, Run
from src.archive.sources import Source, list_sources
from src.archive.worker import Worker
from src.errors import ArchiveError
from src.runtimes.select import start
from src.settings import Settings
from src.store import bundle
from src.store.files import MANIFEST
from tests.archive.conftest import write_images
from tests.places import PACKAGED_PHOTOS

pytestmark = pytest.mark.bulk

ONE_CORE, ONE_GPU = Crew(1, 1, 0), Crew(1, 2, 1)


@pytest.fixture
def files(tiny: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of the stored network, passed without Ray."""
    monkeypatch.setattr("ray.get", lambda files: files)
    return {file.name: file.read_bytes() for file in bundle.load(tiny).folder.iterdir()}


def assignment(files: dict[str, bytes], output: Path, crew: Crew = ONE_CORE, **run: Any) -> Assignment:
    """Return a default assignment, with the fields ``run`` of its run changed."""
    plain: dict[str, Any] = {"precision": "fp32", "heatmaps": False, "heatmap_files": False, "targets": ()}
    begun = Run(token="t", archive="a", model="m", deduplicate=False, **plain | run)  # noqa: S106 - not a secret
    Output(str(output)).begin(begun)
    return Assignment(begun, str(output), Settings(), files, crew, None)


def done(asked: Assignment, sources: Sequence[Source]) -> str:
    """Let a worker process ``sources``; return its fault."""
    row = {"sources": json.dumps([asdict(source) for source in sources])}
    return Worker(asked)(row)["fault"]


def rows(output: Path) -> list[dict[str, Any]]:
    """Return the rows of the only part of ``output``, by path, without the seconds."""
    (part,) = output.glob("part-*")
    return sorted(pq.read_table(part).drop_columns("seconds").to_pylist(), key=lambda row: str(row["path"]))


def test_batches_on_a_gpu_match_single_images(files: dict[str, bytes], tmp_path: Path) -> None:
    """Several threads decode, and the network takes 32 images at a time; here a CPU stands in for the GPU."""
    write_images(tmp_path / "images", range(75), broken=[40])
    sources = list_sources(str(tmp_path / "images"))
    assert not done(assignment(files, tmp_path / "one", heatmaps=True, targets=(1,)), sources)
    assert not done(assignment(files, tmp_path / "many", ONE_GPU, heatmaps=True, targets=(1,)), sources)
    assert rows(tmp_path / "many") == rows(tmp_path / "one")
    assert len(rows(tmp_path / "one")) == 75


def test_workers_use_the_gpus_of_a_cluster_or_else_its_cores() -> None:
    """There is one worker per GPU, with its share of the cores, unless fewer are requested or the device is the CPU."""
    nodes = [{"CPU": 16.0, "GPU": 2.0, "memory": 1e9}, {"CPU": 4.0, "GPU": 1.0}, {"CPU": 64.0}]
    assert Crew.of(nodes, None, "auto") == Crew(3, 4, 1)
    assert Crew.of(nodes, 1, "cuda") == Crew(1, 4, 1)
    assert Crew.of(nodes, None, "cpu") == Crew(84, 1, 0)
    assert Crew.of([{"CPU": 4.0}], 3, "auto") == Crew(3, 1, 0)
    assert Crew.of([{"GPU": 1.0}], None, "auto").threads == 1
    with pytest.raises(ArchiveError, match="no CPUs"):
        Crew.of([{"memory": 1e9}], None, "auto")


def test_a_node_that_cannot_read_the_archive_ends_the_run(files: dict[str, bytes], tmp_path: Path) -> None:
    """A folder that is not mounted ends the run; one missing file becomes an error."""
    missing = [Source(f"/nowhere/{index}.jpg") for index in range(20)]
    fault = done(assignment(files, tmp_path / "a"), missing)
    assert "cannot read any of the 20 images from /nowhere/0.jpg on" in fault
    assert not list((tmp_path / "a").glob("part-*"))
    write_images(tmp_path / "images", range(3))
    assert not done(assignment(files, tmp_path / "b"), [*list_sources(str(tmp_path / "images")), *missing[:1]])
    assert [row["error_code"] for row in rows(tmp_path / "b")] == ["unreadable", None, None, None]


@pytest.mark.parametrize("shard", [Source("/nowhere/0.tar", "tar", None), Source("/nowhere/0.parquet", "parquet", 9)])
def test_a_node_that_does_not_find_a_shard_ends_the_run(files: dict[str, bytes], tmp_path: Path, shard: Source) -> None:
    """All its images would be one error, and never tried again."""
    assert f"cannot find {shard.address}" in done(assignment(files, tmp_path / "out"), [shard])
    assert not list((tmp_path / "out").glob("part-*"))


def test_rows_without_an_image_do_not_end_the_run(files: dict[str, bytes], tmp_path: Path) -> None:
    """A table in which few rows have an image is not a node that cannot read the archive."""
    pq.write_table(pa.table({"image": pa.array([None] * 20, pa.binary())}), tmp_path / "texts.parquet")
    assert not done(assignment(files, tmp_path / "out"), list_sources(str(tmp_path / "texts.parquet")))
    assert [row["error_code"] for row in rows(tmp_path / "out")] == ["invalid_request"] * 20


def test_the_threads_of_a_worker_share_one_network(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is loaded before they start: from Python 3.12 on, nothing keeps each from loading its own."""
    loading: list[threading.Thread] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        loading.append(threading.current_thread())
        return start(*arguments, **options)

    monkeypatch.setattr("src.archive.worker.start", noted)
    write_images(tmp_path / "images", range(8))
    assert not done(assignment(files, tmp_path / "out", ONE_GPU), list_sources(str(tmp_path / "images")))
    assert loading == [threading.current_thread()]


def test_a_worker_leaves_no_copy_of_the_model(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while it works: Ray ends its process without asking."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    write_images(tmp_path / "images", range(3))
    worker = Worker(assignment(files, tmp_path / "out", heatmaps=True))
    sources = list_sources(str(tmp_path / "images"))
    assert not worker({"sources": json.dumps([asdict(source) for source in sources])})["fault"]
    assert not list((tmp_path / "scratch").iterdir())


def test_heatmap_files_are_written_next_to_the_parts(files: dict[str, bytes], tmp_path: Path) -> None:
    """Each image has a heatmap file, in a folder whose name begins with an underscore."""
    write_images(tmp_path / "images", range(3))
    asked = assignment(files, tmp_path / "out", heatmap_files=True)
    assert not done(asked, list_sources(str(tmp_path / "images")))
    assert len(list((tmp_path / "out" / "_heatmaps").rglob("*.jpg"))) == 3
    assert [row["heatmap_file"].split("/")[0] for row in rows(tmp_path / "out")] == ["_heatmaps"] * 3


def test_multilabel_rows_list_all_classes_above_their_thresholds(files: dict[str, bytes], tmp_path: Path) -> None:
    """Independent percentages do not sum to 100, so ``other`` is null."""
    manifest = json.loads(files[MANIFEST]) | {"output": {"kind": "multilabel", "thresholds": [0.01, 0.02, 0.99]}}
    write_images(tmp_path / "images", range(1))
    asked = assignment(files | {MANIFEST: json.dumps(manifest).encode()}, tmp_path / "out")
    assert not done(asked, list_sources(str(tmp_path / "images")))
    (row,) = rows(tmp_path / "out")
    assert (row["label"], row["other"], set(row["results"])) == ("red", None, {"red", "green"})


def test_a_damaged_model_ends_the_run(files: dict[str, bytes], tmp_path: Path) -> None:
    """The fault of the first part names the damaged file, and so does that of a part that only tries the worker.

    If the model killed its workers, each image would otherwise be blamed for it.
    """
    damaged = files | {"network.bin": b""}
    assert "network.bin" in done(assignment(damaged, tmp_path / "out"), [Source("a.jpg")])
    assert "network.bin" in done(assignment(damaged, tmp_path / "out"), [])


def test_the_answers_match_the_service(stored_model: str, client: httpx.Client, tmp_path: Path) -> None:
    """The default network gives the same classes in the same order, with the same percentages, as when served."""
    stored = {file.name: file.read_bytes() for file in bundle.load(stored_model).folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.get", lambda files: files)
        asked = assignment(stored, tmp_path / "out")
        assert not done(asked, [Source(str(file)) for file in PACKAGED_PHOTOS])
    for row in rows(tmp_path / "out"):
        with Path(row["path"]).open("rb") as image:
            answer = client.post("/image_recognition_file", files={"img": image}, data={"gradcam": "false"}).json()
        assert [one["class"] for one in row["top"]] == [one["class"] for one in answer["detail"]]
        percents = [one["percent"] for one in row["top"]]
        assert percents == pytest.approx([one["prob"] for one in answer["detail"]], abs=1e-4)
        assert (row["box"], row["width"]) == (answer["image"]["box"], answer["image"]["width"])
