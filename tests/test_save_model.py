"""The command that stores models, as people run it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import bentoml
import pytest

import save_model
from tests.places import ROOT


def test_the_default_network_is_stored_and_reported(report: str) -> None:
    """The report names tag, architecture, classes, size and what was verified; nothing differs from the original."""
    assert re.search(r"stored +image_recognition:\w+", report)
    assert "timm/tf_efficientnet_lite0" in report
    assert "1000: tench, goldfish" in report
    assert "48.0 MB" in report
    assert re.search(r"runs in +OpenVINO on a CPU, without torch; explained in closed form", report)
    assert re.search(r"verified.*finite;\n.* at most 0,\n.* at most 0\n", report)


def test_the_store_shows_what_it_holds(stored_model: str) -> None:
    """'bentoml models get' shows architecture, classes, layer, input and the differences that were measured."""
    model = bentoml.models.get(stored_model)
    assert model.info.labels == {"architecture": "timm/tf_efficientnet_lite0", "task": "image-classification"}
    metadata: dict[str, Any] = model.info.metadata
    assert metadata["classes"] == 1000
    assert metadata["gradcam_layer"] == "bn2"
    assert metadata["input"]["crop"] == [224, 224]
    assert (metadata["max_logit_difference_captured"], metadata["max_logit_difference_cut"]) == (0, 0)
    assert metadata["max_probability_difference_stored"] < 1e-5
    assert metadata["max_heatmap_difference_stored"] < 1e-4
    assert {file.name for file in Path(model.path).iterdir()} == {
        *("manifest.json", "model.yaml", "weights.safetensors"),
        *("network.xml", "network.bin", "gradient.xml", "gradient.bin", "closed_form.safetensors"),
        *("network.pt2", "gradient.pt2"),
    }
    manifest = json.loads((Path(model.path) / "manifest.json").read_text())
    assert set(manifest) == {
        "schema_version",
        "architecture",
        "labels",
        "input",
        "output",
        "bf16",
        "batch",
        "layer",
        "features",
        "runtime",
        "head",
        "exact",
        "note",
        "torch",
        "learned",
        "sha256",
    }


def test_what_is_there_already_is_kept(stored_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --if-missing a second run stores nothing."""
    before = len(bentoml.models.list(stored_model))
    assert save_model.main(["--if-missing"]) == 0
    assert "already" in capsys.readouterr().out
    assert len(bentoml.models.list(stored_model)) == before


def test_a_name_that_the_store_refuses_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none ends with exit code 2 and one sentence, without a traceback."""
    for more in ([], ["--if-missing"]):
        assert save_model.main(["--name", "not a name!", *more]) == 2
        refusal = capsys.readouterr().err
        assert refusal.startswith("save_model.py: ")
        assert len(refusal.splitlines()) == 1


def test_help_reads_well_and_comes_at_once() -> None:
    """--help tells what the command does and what each option is for, and does not wait for torch."""
    command = [sys.executable, "-X", "importtime", "save_model.py", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "model store" in shown.stdout
    assert "--name NAME" in shown.stdout
    trace = shown.stderr
    assert "src.saving.options" in trace
    assert not re.search(r"\| +torch\n", trace)


@pytest.mark.parametrize("option", [["--arch", "resnet18"], ["--labels", "a,b"], ["--resize", "300"]])
def test_what_would_be_ignored_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The default network is what it is: options that say how to read a checkpoint need one."""
    assert save_model.main(option) == 2
    assert f"{option[0]} says how to read a checkpoint, but none is given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["x.pt", "--module", "net.py:Net", "--arch", "resnet18"], "--module and --arch both say"),
        (["x.pt", "--check", "nowhere"], "nowhere does not exist: --check needs a folder"),
        (
            ["x.pt", "--coverage", "90"],
            "--coverage has no effect without a check: add a folder of images. (--check FOLDER)",
        ),
    ],
)
def test_what_cannot_end_well_is_refused_at_once(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options that contradict each other, and a folder that is not there, are told before the file is read."""
    assert save_model.main(options) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Reading" not in shown.out


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (PermissionError(13, "Permission denied", "net.ckpt"), 2, "save_model.py: net.ckpt: Permission denied"),
        (OSError(28, "No space left on device"), 2, "save_model.py: No space left on device"),
        (KeyboardInterrupt(), 130, "Stopped: nothing was stored."),
    ],
    ids=["no permission", "full disk", "Ctrl-C"],
)
def test_what_the_system_or_the_user_stops_ends_in_one_sentence(
    raised: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file without permission, a full disk and Ctrl-C end the command without a traceback."""

    def stop(_: object) -> None:
        raise raised

    monkeypatch.setattr(save_model, "_save", stop)
    assert save_model.main([]) == code
    assert capsys.readouterr().err.strip() == message


def test_names_that_are_not_utf_8_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file or folder from an old archive may have such a name, which is then printed escaped."""
    monkeypatch.setattr(save_model, "_save", lambda _: save_model._plot(Path(os.fsdecode(b"gr\xfcn.png")), Path))
    assert save_model.main([os.fsdecode(b"\xff.ckpt")]) == 0
    assert capsys.readouterr().out == "Reading, verifying and storing \\udcff.ckpt ...\nplotted       gr\\udcfcn.png\n"


def test_a_check_needs_no_writable_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plot that cannot be written is reported, and the check goes on."""
    save_model._plot(tmp_path / "plot.png", Path.touch)
    save_model._plot(tmp_path / "missing" / "plot.png", Path.touch)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"plotted       {tmp_path / 'plot.png'}"
    assert shown[1] == f"not plotted   {tmp_path / 'missing' / 'plot.png'}: No such file or directory"


@pytest.mark.parametrize("numbers", ["0.5,0.5", "123,117,104", "0.5,0.5,0.5,0.5", "red"])
def test_means_are_one_share_or_three(numbers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All but one number or three from 0 to 1 is refused before any work: 0 to 255 would be wrong without a word."""
    with pytest.raises(SystemExit, match="2"):
        save_model.main(["x.ckpt", "--mean", numbers])
    assert "argument --mean: must be one or three numbers" in capsys.readouterr().err


def test_a_size_that_is_none_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong size is an error of the command line that shows how sizes are written."""
    with pytest.raises(SystemExit, match="2"):
        save_model.main(["file.ckpt", "--resize", "large"])
    assert "--resize: must be pixels, such as 256 or 240x320, not 'large'" in capsys.readouterr().err
