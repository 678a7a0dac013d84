"""The training command, as people run it, on small generated images."""

import csv
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src import train
from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.default import default_checkpoint
from src.checkpoints.given import Given
from src.stages.input_spec import InputSpec
from tests.places import ROOT

TINY = ["--arch", "timm/test_resnet", "--from-scratch", "--batch-size", "8"]
COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten noisy images of each of three colors."""
    folder = tmp_path_factory.mktemp("datasets") / "colors"
    rng = np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / name).mkdir(parents=True)
        for index in range(10):
            values = np.array(color) + rng.integers(-40, 40, (32, 32, 3))
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one epoch of a tiny network from random weights has written."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert train.main([str(photos), *TINY, "--epochs", "1", "--out", str(out)]) == 0
    return out


def checkpoint(file: Path) -> dict[str, Any]:
    """Content of a checkpoint, read without allowing any type."""
    content: dict[str, Any] = torch.load(file, weights_only=True)
    return content


def rows(out: Path) -> list[dict[str, str]]:
    """The metrics of a run."""
    with (out / "metrics.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_it_writes_checkpoints_metrics_and_a_plot(trained: Path) -> None:
    """The best and the last checkpoint, loss and accuracy of both parts, and the learning curve are there."""
    assert {file.name for file in trained.iterdir()} >= {"best.ckpt", "last.ckpt", "metrics.csv", "learning_curve.png"}
    assert {"train_loss", "train_accuracy", "val_loss", "val_accuracy"} <= set(rows(trained)[0])
    with Image.open(trained / "learning_curve.png") as image:
        assert image.width > 800


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_checkpoint_says_by_itself_what_it_is(trained: Path, name: str) -> None:
    """Read with weights_only and no allowlist, it has architecture, labels and input, and the network's tensors."""
    content = checkpoint(trained / name)
    stored = content["hyper_parameters"]
    assert stored["architecture"] == "timm/test_resnet"
    assert stored["labels"] == ["blue", "green", "red"]
    assert InputSpec.model_validate(stored["input"]).crop == (160, 160)
    assert all(tensor.startswith("network.") for tensor in content["state_dict"])


@pytest.fixture(scope="module")
def marked(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV that marks the images of the colors as warm, as cold, or as neither."""
    folder = tmp_path_factory.mktemp("marked")
    lines = ["image,warm,cold"]
    for file in sorted(photos.rglob("*.png")):
        name = file.parent.name
        (folder / f"{name}{file.name}").write_bytes(file.read_bytes())
        lines.append(f"{name}{file.name},{int(name == 'red')},{int(name == 'blue')}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def test_a_table_of_labels_and_gray_images_are_learned(
    marked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CSV gives a multi-label network, --channels 1 one of gray images, and the checkpoint says both by itself."""
    assert train.main([str(marked), *TINY, "--channels", "1", "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert "warm (10), cold (10)" in capsys.readouterr().out
    stored = checkpoint(tmp_path / "best.ckpt")["hyper_parameters"]
    assert stored["output"]["kind"] == "multilabel"
    assert stored["input"]["channels"] == 1
    read = read_checkpoint(tmp_path / "best.ckpt", Given())
    assert (read.output.kind, read.input.channels, read.labels) == ("multilabel", 1, ("warm", "cold"))
    assert train.main([str(marked), "--channels", "3", "--resume", str(tmp_path / "last.ckpt")]) == 2
    assert "differs in its channels (1, now 3)" in capsys.readouterr().err


def test_the_default_network_keeps_what_it_knows(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few epochs from ImageNet weights tell colors apart, leave early layers alone; the next command is named."""
    assert train.main([str(photos), "--epochs", "6", "--batch-size", "4", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "from published weights" in out
    assert "6 of 6 images" in out
    assert out.rstrip().endswith(f"save_model.py {tmp_path / 'best.ckpt'} --name {tmp_path.name}")
    state = checkpoint(tmp_path / "best.ckpt")["state_dict"]
    assert torch.equal(state["network.conv_stem.weight"], default_checkpoint().network.state_dict()["conv_stem.weight"])
    assert not torch.equal(
        state["network.conv_head.weight"], default_checkpoint().network.state_dict()["conv_head.weight"]
    )


def test_the_same_seed_gives_the_same_network(photos: Path, trained: Path, tmp_path: Path) -> None:
    """Training anew gives every weight bit for bit; another seed does not."""
    again, other = tmp_path / "again", tmp_path / "other"
    assert train.main([str(photos), *TINY, "--epochs", "1", "--out", str(again)]) == 0
    assert train.main([str(photos), *TINY, "--epochs", "1", "--seed", "1", "--out", str(other)]) == 0
    first, second, third = (checkpoint(out / "best.ckpt")["state_dict"] for out in (trained, again, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_threads_do_not_matter_to_the_network(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default network, whose frozen layers many threads run, learns the same with any number of them."""
    states = []
    for cores in (1, 3):
        monkeypatch.setattr("src.training.feed.usable_cores", lambda cores=cores: cores)
        out = tmp_path / str(cores)
        assert train.main([str(photos), "--epochs", "1", "--batch-size", "12", "--out", str(out)]) == 0
        states.append(checkpoint(out / "last.ckpt")["state_dict"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("batches", "reading"))]


def test_it_goes_on_where_it_ended(photos: Path, tmp_path: Path) -> None:
    """A resumed run takes architecture and split from the file, and its metrics follow those that are there."""
    first = [str(photos), *TINY, "--epochs", "1", "--seed", "3", "--validation", "0.3", "--out", str(tmp_path)]
    assert train.main(first) == 0
    resume = ["--epochs", "3", "--batch-size", "8", "--resume", str(tmp_path / "last.ckpt"), "--out", str(tmp_path)]
    assert train.main([str(photos), *resume]) == 0
    assert {row["epoch"] for row in rows(tmp_path)} == {"0", "1", "2"}
    assert checkpoint(tmp_path / "last.ckpt")["epoch"] == 2


def test_a_resumed_run_may_write_to_another_folder(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its metrics follow those of the run that it resumes, not those of another run that are there."""
    (tmp_path / "metrics.csv").write_text("epoch,step,val_loss\n0,99,9\n")
    (tmp_path / "best.ckpt").write_text("of another run")
    command = [str(photos), "--resume", str(trained / "last.ckpt"), "--out", str(tmp_path), "--batch-size", "8"]
    assert train.main([*command, "--epochs", "1"]) == 2
    assert "has completed 1 epochs: set more with --epochs" in capsys.readouterr().err
    assert train.main([*command, "--epochs", "2"]) == 0
    assert rows(tmp_path)[: len(rows(trained))] == rows(trained)
    assert {row["epoch"] for row in rows(tmp_path)} == {"0", "1"}
    assert checkpoint(tmp_path / "best.ckpt")["hyper_parameters"]["labels"] == ["blue", "green", "red"]


def test_unreadable_files_are_named_and_passed_over(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text file and a damaged image among the photos are counted and named, and training goes on."""
    folder = tmp_path / "mixed"
    for file in photos.rglob("*.png"):
        copy = folder / file.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (folder / "red" / "notes.txt").write_text("no image")
    (folder / "red" / "cut.png").write_bytes(file.read_bytes()[:300])
    assert train.main([str(folder), *TINY, "--epochs", "1", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "2 unreadable files skipped" in out
    assert str(folder / "red" / "cut.png") in out
    assert "from random weights" in out


@contextmanager
def interrupted_when_there_is(file: Path) -> Iterator[None]:
    """Send this process what Ctrl-C sends as soon as ``file`` exists."""

    def interrupt() -> None:
        while not file.exists() and not over.is_set():
            time.sleep(0.01)
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    over = threading.Event()
    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores Ctrl-C
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_the_best_checkpoint(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped after some epochs it says that the best is kept, how good it is and what comes next."""
    with interrupted_when_there_is(tmp_path / "last.ckpt"):
        assert train.main([str(photos), *TINY, "--epochs", "500", "--out", str(tmp_path)]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    out = capsys.readouterr().out
    assert "the best checkpoint so far is kept" in out
    assert "save_model.py" in out
    assert checkpoint(tmp_path / "best.ckpt")["hyper_parameters"]["labels"] == ["blue", "green", "red"]


def test_ctrl_c_after_training_does_not_deny_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while it counts what it classifies correctly, it says that what is written is kept."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_count_right", interrupted)
    assert train.main([str(photos), *TINY, "--epochs", "1", "--out", str(tmp_path)]) == 130
    assert "Stopped; what is written so far is kept." in capsys.readouterr().err
    assert (tmp_path / "best.ckpt").exists()


def test_only_a_run_of_the_same_data_can_be_resumed(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other labels, other photos, another seed or architecture: each is refused by name."""
    resume = ["--resume", str(trained / "last.ckpt"), "--out", str(tmp_path / "out")]
    other = tmp_path / "other"
    for name in ("blue", "green", "red"):
        (other / name).mkdir(parents=True)
        for index in (1, 2):
            (other / name / f"{index}.png").write_bytes((photos / name / f"{index}.png").read_bytes())
    for arguments, named in (
        ([str(other)], "differs in its dataset"),
        ([str(photos), "--seed", "5"], "differs in its seed (0, now 5)"),
        ([str(photos), "--arch", "squeezenet1_1"], "differs in its architecture"),
    ):
        assert train.main([*arguments, *resume]) == 2
        assert named in capsys.readouterr().err
    (other / "red").rename(other / "yellow")
    assert train.main([str(other), *resume]) == 2
    assert "differs in its labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nowhere"], "There is no folder"),
        (["{photos}/red"], "at least two classes"),
        (["{photos}", "--arch", "resnet1"], "has a network 'resnet1'"),
        (["{photos}", "--resume", "{tmp}/nothing.ckpt"], "Cannot read"),
        (["{photos}", "--resume", "{photos}/red/0.png"], "is not a checkpoint of this command"),
        (["{photos}", "--out", "{photos}/red/0.png"], "choose another folder with --out"),
        (["{photos}", "--out", "/proc"], "Cannot write to /proc"),
    ],
)
def test_mistakes_are_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot work ends with one line on stderr and exit code 2."""
    assert train.main([text.format(tmp=tmp_path, photos=photos) for text in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.splitlines()[-1].startswith("train: ")


def test_names_that_are_not_utf_8_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """They do not end training in a traceback."""
    assert train.main([os.fsdecode(b"gr\xfcn"), "--resume", "nothing.ckpt"]) == 2
    assert capsys.readouterr().out == "Reading gr\\udcfcn ...\n"


def test_a_full_disk_is_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder without permission is."""

    def full(_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device", "last.ckpt")

    monkeypatch.setattr(train, "_fit", full)
    assert train.main([str(photos), *TINY, "--epochs", "1", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "train: last.ckpt: No space left on device"


def test_help_does_not_wait_for_torch() -> None:
    """The options are shown without importing torch, Lightning or matplotlib."""
    code = (
        "import sys; from src import train\n"
        "try: train.main(['--help'])\n"
        "finally: print(sorted({'torch', 'pytorch_lightning', 'matplotlib', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--resume LAST.ckpt" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "option",
    [["--epochs", "0"], ["--batch-size", "1"], ["--validation", "1"], ["--seed", "x"], ["--seed", "20261126120000"]],
)
def test_options_out_of_range_are_refused(photos: Path, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    """Numbers that make no sense are refused before anything is read."""
    with pytest.raises(SystemExit) as stopped:
        train.main([str(photos), *option])
    assert stopped.value.code == 2
    assert f"not '{option[1]}'" in capsys.readouterr().err
