"""Test the refusals and the progress bar of python -m src.bulk, without a cluster."""

import errno
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

from src.archive.figures import Figures
from src.archive.job import Order
from src.archive.output import Part
from src.archive.progress import Bar
from src.archive.sources import Source
from src.bulk import main
from tests.archive.conftest import write_images

pytestmark = pytest.mark.bulk


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the command's error message for ``arguments``."""
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


def test_invalid_options_are_refused_before_a_cluster_starts(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command refuses each in one sentence that says what to do."""
    images, output = str(tmp_path / "images"), str(tmp_path / "output")
    write_images(tmp_path / "images", range(2))
    (tmp_path / "link").symlink_to(tmp_path / "images")
    model = ["--model", tiny]
    assert "no images at" in refusal(capsys, str(tmp_path / "none"), output, *model)
    assert "no model missing" in refusal(capsys, images, output, "--model", "missing")
    assert "no class 'bleu': did you mean 'blue'?" in refusal(capsys, images, output, *model, "--targets", "bleu")
    assert "no class 7" in refusal(capsys, images, output, *model, "--targets", "red,7")
    for folder in (images, f"{images}/../images", str(tmp_path / "link")):
        assert "lies in" in refusal(capsys, folder, f"{images}/output", *model)
    assert "holds other files" in refusal(capsys, f"{images}/*.jpg", images, *model)
    assert not (tmp_path / "output").exists()
    for number in ("0", "two"):
        with pytest.raises(SystemExit):
            main([images, output, "--concurrency", number])
        assert f"must be a whole number of at least 1, not '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["1.jpg", "2.jpg", "3.jpg", "4.jpg", "out"], "arguments: 3.jpg, ... (in quotes, as in 'photos/*.jpg'"),
        (["photos", "out", "--fast"], "arguments: --fast\n"),
        (["", "out"], "must not be empty"),
        (["photos", ""], "must not be empty"),
    ],
)
def test_a_command_line_that_the_shell_has_changed_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    """It expands patterns, and a variable that is not set becomes nothing, which as a path is the current folder."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("cat, dog,7", ("cat", "dog", "7")),
        ('"tench, Tinca tinca", "goldfish",', ("tench, Tinca tinca", "goldfish")),
        ("", ()),
    ],
)
def test_a_target_may_have_commas(monkeypatch: pytest.MonkeyPatch, targets: str, expected: tuple[str, ...]) -> None:
    """The classes of ImageNet have, in the networks of transformers."""
    orders: list[Order] = []

    def noted(order: Order, _: object) -> Figures:
        orders.append(order)
        return Figures()

    monkeypatch.setattr("src.archive.job.carry_out", noted)
    assert main(["images", "output", "--targets", targets]) == 0
    assert orders[0].targets == expected


def test_stores_and_clusters_that_cannot_be_used_are_named(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown kind of store, one whose package is missing, a file in place of the output, an address without Ray.

    Ray itself would try for many minutes.
    """
    images, output, model = str(tmp_path / "images"), str(tmp_path / "output"), ["--model", tiny]
    write_images(tmp_path / "images", range(2))
    (tmp_path / "file").touch()
    assert "Protocol not known: s4" in refusal(capsys, "s4://images", output, *model)
    assert "Protocol not known: s4" in refusal(capsys, images, "s4://output", *model)
    assert "gcsfs" in refusal(capsys, "gs://images", output, *model)
    assert "file cannot be written to (NotADirectoryError" in refusal(capsys, images, f"{tmp_path}/file", *model)

    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    said = refusal(capsys, images, output, *model, "--ray", address)
    assert f"Ray does not answer at {address} (ConnectionRefusedError: " in said


def test_a_full_disk_is_one_sentence(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the command writes, as where a worker does."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "summary.txt")

    write_images(tmp_path / "images", range(2))
    monkeypatch.setattr("src.archive.job.list_sources", full)
    _, said = refusal(capsys, str(tmp_path / "images"), str(tmp_path / "output"), "--model", tiny).splitlines()
    assert said == "bulk: summary.txt: No space left on device. Run the same command again to continue."


def test_ctrl_c_while_packages_are_imported_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds, in which people notice that they forgot an option."""

    class Interrupted(ModuleType):
        def __getattr__(self, _: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "src.archive.job", Interrupted("job"))
    assert main(["images", "output"]) == 130
    said = capsys.readouterr().err.splitlines()
    assert said == ["bulk: listing images ...", "bulk: stopped; run the same command again to continue."]


def test_the_bar_estimates_how_many_images_tar_files_have() -> None:
    """It extrapolates from finished tar files; the number in image and Parquet files is known."""
    tars = [Source(f"{index}.tar", "tar", None) for index in range(4)]
    with Bar([*tars, Source("a.jpg"), Source("b.parquet", "parquet", 99, (0, 1))]) as bar:
        assert bar.total is None
        bar.advance(Part(sources=("0.tar",), figures=Figures(images=100)))
        assert bar.total == 100 + 300 + 100
        bar.advance(Part(sources=("1.tar",), figures=Figures(images=300)))
        assert bar.total == 400 + 400 + 100


def test_the_bar_of_a_continued_run_begins_where_the_earlier_one_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """People see at once that the images that are done are not processed again."""
    with Bar([Source("a.jpg"), Source("b.jpg")], 6) as bar:
        assert bar.total == 8
    assert " 6/8 " in capsys.readouterr().err
