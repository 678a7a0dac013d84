"""The metrics file and its plot."""

from pathlib import Path

from PIL import Image

from src.training.learning_curve import history, plot, prepend, read_rows

HEADER = "epoch,step,train_loss,val_loss\n"


def test_metrics_are_grouped_by_epoch(tmp_path: Path) -> None:
    """Lightning writes training and validation in separate rows; both belong to the epoch, counted from 1."""
    file = tmp_path / "metrics.csv"
    file.write_text(HEADER + "0,3,,0.5\n0,3,0.75,\n1,7,,0.25\n")
    assert history(file) == {"val_loss": {1: 0.5, 2: 0.25}, "train_loss": {1: 0.75}}


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    """There are no metrics before the first epoch ends."""
    assert read_rows(tmp_path / "metrics.csv") == []


def test_a_resumed_run_follows_the_earlier_one(tmp_path: Path) -> None:
    """Rows of repeated epochs are replaced by the new ones; the others are kept."""
    file = tmp_path / "metrics.csv"
    file.write_text(HEADER + "0,3,,0.5\n1,7,,0.4\n")
    earlier = read_rows(file)
    file.write_text(HEADER + "1,7,,0.3\n2,11,,0.2\n")
    prepend(earlier, file)
    assert [(row["epoch"], row["val_loss"]) for row in read_rows(file)] == [("0", "0.5"), ("1", "0.3"), ("2", "0.2")]


def test_a_resumed_run_that_is_stopped_at_once_loses_nothing(tmp_path: Path) -> None:
    """If the new run wrote no metrics, those of the earlier one are written back."""
    file = tmp_path / "metrics.csv"
    prepend([{"epoch": "0", "val_loss": "0.5"}], file)
    assert read_rows(file) == [{"epoch": "0", "val_loss": "0.5"}]


def test_a_run_stopped_between_validation_and_the_end_of_its_epoch_is_resumed(tmp_path: Path) -> None:
    """Its metrics lack a column that those of the new run have."""
    file = tmp_path / "metrics.csv"
    file.write_text(HEADER + "1,7,0.3,\n1,7,,0.2\n")
    prepend([{"epoch": "0", "step": "3", "val_loss": "0.5"}], file)
    assert history(file) == {"val_loss": {1: 0.5, 2: 0.2}, "train_loss": {2: 0.3}}


def test_the_plot_is_an_image(tmp_path: Path) -> None:
    """Any metrics can be plotted, even if some are missing."""
    plot({"train_loss": {1: 0.5, 2: 0.25}, "val_accuracy": {1: 0.9, 2: 1.0}}, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (1080, 432)
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 100
