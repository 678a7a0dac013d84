"""Test python -m src.bulk as a whole, on a cluster of two nodes, and killed in several ways."""

import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.options import Options
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from src.store import bundle
from tests.archive.conftest import image_file, write_images
from tests.archive.test_reading import write_tar
from tests.places import ROOT

BULK = (sys.executable, "-m", "src.bulk")

pytestmark = [
    pytest.mark.bulk,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


def bulk(*arguments: str) -> str:
    """Run the command and return its output; in its own process, as Ray mixes up actors of several clusters in one."""
    done = subprocess.run([*BULK, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(output: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of ``output`` by the file names of their images, each of which must occur once."""
    found = [row for part in output.glob("part-*.parquet") for row in pq.read_table(part).to_pylist()]
    by_name = {Path(row["path"]).name: row for row in found}
    assert len(by_name) == len(found)
    return by_name


def until(condition: Callable[[], object]) -> None:
    """Wait for ``condition``, at most two minutes."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_rows_match_the_pipeline_and_a_second_run_adds_new_images(cluster: Any, tiny: str, tmp_path: Path) -> None:
    """A folder becomes one row per image, with the service's answer, or an error if the image is damaged.

    With ``--retry`` the part with an image that could not be read is done again, and no other.
    """
    images, output = tmp_path / "images", tmp_path / "output"
    write_images(images / "one", range(40), broken=[7])
    (images / "one" / "labels.json").write_text("{}")
    (images / "one" / "late.jpg").symlink_to(tmp_path / "late.jpg")
    command = [str(images), str(output), "--model", tiny, "--ray", cluster.address, "--heatmaps", "--targets", "blue,0"]
    bulk(*command)
    found = rows(output)
    assert len(found) == 41
    assert found["000007.jpg"]["error_code"] == "broken_image"
    assert found["late.jpg"]["error_code"] == "unreadable"
    stored = bundle.load(tiny)
    pipeline = Pipeline(stored.manifest, start(stored.folder, stored.manifest, threads=1), DecodeLimits())
    for index in (0, 1, 2, 39):
        row = found[f"{index:06d}.jpg"]
        content = (images / "one" / f"{index:06d}.jpg").read_bytes()
        expected = pipeline.recognize(content, Options(gradcam=False, heatmaps=True))
        scores = expected.prediction.top
        assert row["label"] == scores[0].label == ("red", "green", "blue")[index % 3]
        assert [(one["class"], one["percent"]) for one in row["top"]] == [(one.label, one.percent) for one in scores]
        assert [one["class"] for one in row["targets"]] == ["blue", "red"]
        assert row["top"][0]["heatmap"] == expected.heatmaps[0].tolist()
        assert (row["model"], row["sha256"]) == (stored.tag, hashlib.sha256(content).hexdigest())
    assert {path.name for path in output.iterdir() if not path.name.startswith("part-")} == {"_state", "_summary"}
    before = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    write_images(images / "two", range(40, 60))
    (tmp_path / "late.jpg").write_bytes(image_file(0))
    bulk(*command, "--retry")
    assert len(rows(output)) == 61
    assert rows(output)["late.jpg"]["label"] == "red"
    after = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert len(before.items() - after.items()) == 1


def test_shards_are_read_from_an_object_store_and_rows_written_to_it(bucket: Any, tiny: str, tmp_path: Path) -> None:
    """Images, a tar file and a Parquet file become rows; images with the same bytes are recognized once."""
    shard, table = tmp_path / "shard.tar", tmp_path / "table.parquet"
    write_tar(shard, {f"{index}.jpg": image_file(index) for index in range(10)})
    pq.write_table(pa.table({"image": [image_file(index) for index in range(5, 15)]}), table)
    for file in (shard, table):
        bucket.upload_file(str(file), "archive", f"in/{file.name}")
    bucket.put_object(Bucket="archive", Key="in/one.jpg", Body=image_file(14))
    command = ["s3://archive/in", "s3://archive/out", "--model", tiny, "--deduplicate", "--concurrency", "1"]
    assert "duplicates    6" in bulk(*command)
    listed = bucket.list_objects_v2(Bucket="archive", Prefix="out/")["Contents"]
    folder = tmp_path / "out"
    folder.mkdir()
    for one in listed:
        if "part-" in one["Key"]:
            bucket.download_file("archive", one["Key"], str(folder / Path(one["Key"]).name))
    found = rows(folder)
    assert len(found) == 21
    labels = {row["path"]: row["label"] for row in found.values() if not row["duplicate_of"]}
    assert len(labels) == 15
    assert all(row["duplicate_of"] in labels for row in found.values() if row["duplicate_of"])
    assert labels["s3://archive/in/shard.tar#0.jpg"] == "red"
    assert {key.split("/")[1].partition("-")[0] for key in (one["Key"] for one in listed)} == {
        "part",
        "_state",
        "_summary",
    }


def test_a_killed_command_continues_where_it_stopped(tiny: str, tmp_path: Path) -> None:
    """No image is lost or repeated, although workers of the killed command may still be running."""
    images, output = tmp_path / "images", tmp_path / "output"
    write_images(images, range(1500))
    command = [str(images), str(output), "--model", tiny]
    with subprocess.Popen([*BULK, *command], cwd=ROOT, stderr=subprocess.DEVNULL) as killed:
        until(lambda: len(list(output.glob("part-*"))) >= 2)
        killed.send_signal(signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    bulk(*command)
    assert len(rows(output)) == 1500
    after = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert before.items() <= after.items()
    assert len(before) < len(after)


def test_no_image_is_lost_when_a_node_dies(tiny: str, tmp_path: Path) -> None:
    """The remaining nodes process its images, although its worker cannot restart elsewhere."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - after the others

    images, output = tmp_path / "images", tmp_path / "output"
    write_images(images, range(1500))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    command = [str(images), str(output), "--model", tiny, "--ray", cluster.address]
    with subprocess.Popen([*BULK, *command], cwd=ROOT, stderr=subprocess.DEVNULL) as run:
        until(lambda: len(list(output.glob("part-*"))) >= 3)
        cluster.remove_node(node, allow_graceful=False)
        assert run.wait() == 0
    cluster.shutdown()
    assert len(rows(output)) == 1500


def test_memory_does_not_grow_over_twenty_thousand_images(cluster: Any, tiny: str, tmp_path: Path) -> None:
    """Each image is a row, each broken one an error, and the command and its workers need no more memory over time."""
    images, output = tmp_path / "images", tmp_path / "output"
    broken = range(50, 20_000, 100)
    write_images(images, range(20_000), broken)
    memory: list[tuple[int, int]] = []
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(memory, output, ended))
    watch.start()
    bulk(str(images), str(output), "--model", tiny, "--ray", cluster.address, "--heatmaps")
    ended.set()
    watch.join()
    found = rows(output)
    assert len(found) == 20_000
    errors = {name: row["error_code"] for name, row in found.items() if row["error_code"]}
    assert errors == {f"{index:06d}.jpg": "broken_image" for index in broken}
    assert all(
        row["label"] == ("red", "green", "blue")[int(name[:6]) % 3] for name, row in found.items() if row["label"]
    )
    parts = len(list(output.glob("part-*")))
    early = [used for done, used in memory if 0.25 < done / parts <= 0.5]
    late = [used for done, used in memory if 0.5 < done / parts < 1]
    assert max(late) < max(early) + 50_000_000


def _watch(memory: list[tuple[int, int]], output: Path, ended: threading.Event) -> None:
    """Record the number of finished parts and the bytes in use by the command and its workers, until ``ended``."""
    while not ended.wait(0.1):
        done, used = len(list(output.glob("part-*"))), 0
        for process in psutil.process_iter(["cmdline", "memory_info"]):
            line = " ".join(process.info["cmdline"] or [])
            if "MapWorker" in line or str(output) in line:
                used += process.info["memory_info"].rss
        memory.append((done, used))
