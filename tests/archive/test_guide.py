"""The commands of docs/guides/million-images.md."""

import os
import re
import shlex
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.archive.conftest import image_file, write_images
from tests.archive.test_reading import write_tar
from tests.places import ROOT

GUIDE = (ROOT / "docs" / "guides" / "million-images.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("  #")[0].strip() for line in GUIDE.splitlines() if line.startswith("python -m src.bulk")]

pytestmark = [
    pytest.mark.bulk,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


def run(command: str) -> None:
    """Run a ``command`` of the guide in the current folder."""
    line, environment = [sys.executable, *shlex.split(command)[1:]], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def count_rows(bucket: Any) -> int:
    """Return the number of rows in the bucket of answers."""
    keys = [one["Key"] for one in bucket.list_objects_v2(Bucket="answers")["Contents"] if "part-" in one["Key"]]
    files = [BytesIO(bucket.get_object(Bucket="answers", Key=key)["Body"].read()) for key in keys]
    return sum(pq.read_metadata(file).num_rows for file in files)


def test_the_commands_of_the_guide(bucket: Any, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those for a folder, a store and, but for the model, shards work as printed; the Python lines read the results."""
    folder, store, shards, *_ = COMMANDS
    write_images(tmp_path / "photos" / "more", range(3))
    for name, index in (("a", 0), ("b", 1), ("c", 1)):
        bucket.put_object(Bucket="archive", Key=f"{name}.jpg", Body=image_file(index))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGE_RECOGNITION_MODEL", tiny)
    run(folder)
    variables: dict[str, Any] = {}
    (lines,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    exec(lines, variables)  # noqa: S102 - our own page
    assert sorted(variables["answers"]["label"].to_pylist()) == ["blue", "green", "red"]
    run(store)
    assert count_rows(bucket) == 3
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "shards" / "0.tar", {"0.jpg": image_file(0)})
    run(shards.replace("pets:latest", tiny).replace("tabby,tiger cat", "red,blue"))
    (row,) = pq.read_table(tmp_path / "heat").to_pylist()
    assert [one["class"] for one in row["targets"]] == ["red", "blue"]
