"""Test the refusals and the progress bar of python -m src.bulk, without a cluster."""

from pathlib import Path

import pytest

from src.archive.figures import Figures
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
    model = ["--model", tiny]
    assert "no images at" in refusal(capsys, str(tmp_path / "none"), output, *model)
    assert "no model missing" in refusal(capsys, images, output, "--model", "missing")
    assert "no class 'bleu': did you mean 'blue'?" in refusal(capsys, images, output, *model, "--targets", "bleu")
    assert "no class 7" in refusal(capsys, images, output, *model, "--targets", "red,7")
    assert "lies in" in refusal(capsys, images, f"{images}/output", *model)
    assert "holds other files" in refusal(capsys, f"{images}/*.jpg", images, *model)
    assert not (tmp_path / "output").exists()
    with pytest.raises(SystemExit):
        main([images, output, "--concurrency", "0"])


def test_the_bar_estimates_how_many_images_tar_files_have() -> None:
    """It extrapolates from finished tar files; the number in image and Parquet files is known."""
    tars = [Source(f"{index}.tar", "tar", None) for index in range(4)]
    with Bar([*tars, Source("a.jpg"), Source("b.parquet", "parquet", 99, (0, 1))]) as bar:
        assert bar.total is None
        bar.advance(Part(sources=("0.tar",), figures=Figures(images=100)))
        assert bar.total == 100 + 300 + 100
        bar.advance(Part(sources=("1.tar",), figures=Figures(images=300)))
        assert bar.total == 400 + 400 + 100
