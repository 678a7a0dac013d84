"""Test the folder of Parquet files, without a cluster."""

import errno
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.archive.figures import Figures
from src.archive.output import Output, Run
from src.archive.reading import Refusal
from src.archive.rows import Answer, table
from src.archive.sources import Source
from src.archive.summary import summarize
from src.errors import ArchiveError
from src.pipeline import Recognition
from src.stages.confidence import Confidence
from src.stages.decoded_image import Box
from src.stages.predict import ClassScore, Prediction

pytestmark = pytest.mark.bulk

RUN = Run(
    token="first",  # noqa: S106 - not a secret
    archive="/images",
    model="m:1",
    precision="fp32",
    heatmaps=True,
    heatmap_files=False,
    targets=(),
    deduplicate=False,
)
SEEN = Recognition(
    Prediction((ClassScore("cat", 1, 90.0), ClassScore("dog", 0, 80.0)), None, ("cat",)),
    Confidence(familiar=False, labels=("cat", "dog"), coverage=90),
    None,
    (np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)),
    40,
    30,
    Box(5, 0, 35, 30),
    (ClassScore("cow", 2, 0.5),),
)
ANSWERS = [
    Answer("/images/0", "00", SEEN, 0.5),
    Answer("/images/1", "11", Refusal("broken_image", "It is damaged."), 0.25),
    Answer("/images/2", "00", "/images/0", 0.1),
]


def tables() -> Generator[pa.Table, None, Figures]:
    """Yield the rows of ``ANSWERS`` in two tables."""
    yield table(ANSWERS[:2], "m:1")
    yield table(ANSWERS[2:], "m:1")
    return Figures.total([Figures.of(ANSWERS[:2]), Figures.of(ANSWERS[2:])])


SOURCES = [Source(answer.path) for answer in ANSWERS]


def test_a_part_stores_its_sources_and_figures_and_replaces_its_earlier_file(tmp_path: Path) -> None:
    """A part that is processed again, because its worker was considered dead, is in the output once."""
    output = Output(str(tmp_path / "out"))
    assert output.begin(RUN) == []
    part = output.write(tables(), SOURCES, "first")
    assert output.write(tables(), SOURCES, "first") == part
    assert output.begin(RUN) == [part]
    assert part.sources == ("/images/0", "/images/1", "/images/2")
    assert part.figures.images == 3
    assert (part.figures.classes, part.figures.errors, part.figures.duplicates) == ({"cat": 1}, {"broken_image": 1}, 1)
    assert part.figures.slowest[0] == (0.5, "/images/0")
    (file,) = (tmp_path / "out").glob("*.parquet")
    seen, broken, same = pq.read_table(file).to_pylist()
    assert (seen["label"], seen["results"], seen["other"], seen["box"]) == ("cat", ["cat"], None, [5, 0, 35, 30])
    assert seen["top"][0] == {"class": "cat", "index": 1, "percent": 90.0, "heatmap": [[1, 0], [0, 1]]}
    assert (seen["familiar"], seen["set"], seen["coverage"]) == (False, ["cat", "dog"], 90)
    assert seen["targets"] == [{"class": "cow", "index": 2, "percent": 0.5, "heatmap": [[1, 1], [1, 1]]}]
    assert (broken["error_code"], broken["error_message"], broken["label"]) == ("broken_image", "It is damaged.", None)
    assert (same["duplicate_of"], same["label"]) == ("/images/0", None)
    assert dict(output.digests()) == {"00": "/images/0", "11": "/images/1"}
    assert "3" in summarize(SOURCES, output).text()
    assert (tmp_path / "out" / "_summary" / "classes.png").read_bytes().startswith(b"\x89PNG")


def test_the_name_of_the_output_may_have_brackets(tmp_path: Path) -> None:
    """It is no pattern, which would find nothing, or the parts of another folder."""
    output = Output(str(tmp_path / "out [1]"))
    output.begin(RUN)
    assert output.write(tables(), SOURCES, "first") in output.finished()


def test_only_the_latest_command_writes(tmp_path: Path) -> None:
    """Parts from workers that outlive their killed command are refused."""
    output = Output(str(tmp_path))
    output.begin(RUN)
    output.begin(RUN.model_copy(update={"token": "second"}))
    with pytest.raises(ArchiveError, match="Another command"):
        output.write(tables(), SOURCES, "first")

    def meanwhile() -> Generator[pa.Table, None, Figures]:
        output.begin(RUN.model_copy(update={"token": "third"}))
        return (yield from tables())

    with pytest.raises(ArchiveError, match="Another command"):
        output.write(meanwhile(), SOURCES, "second")
    assert output.finished() == []
    output.end()
    assert {path.name for path in tmp_path.iterdir()} == {"_state"}


def test_a_node_with_a_folder_of_its_own_is_told_apart_from_another_command(tmp_path: Path) -> None:
    """With a local OUTPUT on a cluster, workers on other nodes would write where nobody looks."""
    with pytest.raises(
        ArchiveError, match=r"^Node \S+ does not see what the command has written to .* every node shares"
    ):
        Output(str(tmp_path / "out")).write(tables(), SOURCES, "first")
    assert not (tmp_path / "out").exists()


def test_an_output_of_another_model_or_other_options_is_refused(tmp_path: Path) -> None:
    """An output never mixes models, precisions or columns."""
    output = Output(str(tmp_path))
    output.begin(RUN)
    for changed in ({"model": "m:2"}, {"heatmaps": False}, {"targets": (1,)}, {"precision": "bf16"}):
        with pytest.raises(ArchiveError, match=f"begun with {next(iter(changed))}"):
            output.begin(RUN.model_copy(update=changed))


def test_a_full_disk_at_the_start_does_not_damage_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is room again, the same command continues."""
    output = Output(str(tmp_path))
    output.begin(RUN)
    part = output.write(tables(), SOURCES, "first")

    def full(_: object, path: str, __: bytes) -> None:
        Path(path).write_bytes(b"")
        raise OSError(errno.ENOSPC, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", full)
        with pytest.raises(ArchiveError, match="No space left"):
            output.begin(RUN)
    assert output.begin(RUN) == [part]


def test_only_parts_with_the_errors_that_may_have_passed_are_done_again(tmp_path: Path) -> None:
    """A broken image stays broken, and the other images of its part are not recognized in vain."""
    output, unreadable = Output(str(tmp_path)), frozenset({"unreadable"})
    output.begin(RUN)
    part = output.write(tables(), SOURCES, "first")
    assert output.remove_failed([part], unreadable, SOURCES) == output.begin(RUN) == [part]
    assert output.remove_failed([part], unreadable | {"broken_image"}, SOURCES) == output.begin(RUN) == []


def test_no_row_is_lost_to_a_retry_of_a_part_of_the_archive(tmp_path: Path) -> None:
    """Such as with a list of those that failed: the other images in their files would not be recognized again."""
    output = Output(str(tmp_path))
    output.begin(RUN)
    part = output.write(tables(), SOURCES, "first")
    with pytest.raises(ArchiveError, match="/images/0 is not in INPUT"):
        output.remove_failed([part], frozenset({"broken_image"}), SOURCES[1:])
    assert output.begin(RUN) == [part]


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """Readers of the folder would take other files next to the parts for parts."""
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(ArchiveError, match=r"holds other files \(cat.jpg\)"):
        Output(str(tmp_path)).begin(RUN)


def test_classes_may_be_named_with_dollar_signs(tmp_path: Path) -> None:
    """They are no formula, and the summary at the end of a long run does not fail."""
    output = Output(str(tmp_path))
    output.begin(RUN)
    top = (ClassScore(r"$\cat$", 0, 90.0), *SEEN.prediction.top[1:])
    priced = Answer("/images/0", "00", replace(SEEN, prediction=replace(SEEN.prediction, top=top)), 0.5)

    def one() -> Generator[pa.Table, None, Figures]:
        yield table([priced], "m:1")
        return Figures.of([priced])

    output.write(one(), SOURCES[:1], "first")
    assert summarize(SOURCES[:1], output).classes == {r"$\cat$": 1}


def test_missing_and_repeated_sources_are_reported(tmp_path: Path) -> None:
    """The final check reads the output instead of relying on the workers."""
    output = Output(str(tmp_path))
    output.begin(RUN)
    output.write(tables(), SOURCES, "first")
    with pytest.raises(ArchiveError, match="/images/9 is there 0 times"):
        summarize([*SOURCES, Source("/images/9")], output)
    output.write(tables(), SOURCES[:1], "first")
    with pytest.raises(ArchiveError, match="/images/0 is there 2 times"):
        summarize(SOURCES, output)
