"""python -m src.bulk as a whole, on a cluster of two nodes."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from src.bulk import main
from src.options import Options
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from src.store import bundle
from tests.archive.conftest import write_images

pytestmark = [pytest.mark.bulk, pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")]


def rows(output: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of ``output`` by the names of their files, each of which must be there once."""
    found = [row for part in output.glob("part-*.parquet") for row in pq.read_table(part).to_pylist()]
    by_name = {Path(row["path"]).name: row for row in found}
    assert len(by_name) == len(found)
    return by_name


def test_rows_are_the_answers_of_the_pipeline_and_broken_images_are_errors(
    cluster: Any, tiny: str, tmp_path: Path
) -> None:
    """A folder becomes one row for each image, the same as in the service, and the run goes on from where it was."""
    images, output = tmp_path / "images", tmp_path / "output"
    write_images(images / "one", range(40), broken=[7])
    (images / "one" / "labels.json").write_text("{}")
    command = [str(images), str(output), "--model", tiny, "--ray", cluster.address, "--heatmaps", "--targets", "blue,0"]
    assert main(command) == 0
    found = rows(output)
    assert len(found) == 40
    assert found["000007.jpg"]["error_code"] == "broken_image"
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
        assert row["model"] == stored.tag
    assert {path.name for path in output.iterdir() if not path.name.startswith("part-")} == {"_state", "_summary"}
    before = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    write_images(images / "two", range(40, 60))
    assert main(command) == 0
    assert len(rows(output)) == 60
    assert before.items() <= {path: path.stat().st_mtime_ns for path in output.glob("part-*")}.items()
