"""Decoding a few thousand damaged files; ``make fuzz`` decodes more."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.judge import judge
from tests.fuzz.seeds import make_seeds
from tests.fuzz.worker import judge_mutants
from tests.places import ROOT


def test_every_seed_is_decoded() -> None:
    """The files that the damaged ones are made from are valid."""
    for name, files in make_seeds().items():
        for index, data in enumerate(files):
            assert judge(data)[0] == "image", (name, index)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore::UserWarning")  # as in the service, which ignores Pillow's warnings
def test_damaged_files_give_an_image_or_a_documented_error(seed: int, tmp_path: Path) -> None:
    """Each of 1,000 damaged files of all formats is decoded or refused, within the cost limits."""
    tally = judge_mutants(seed, 1_000, tmp_path)
    assert not tally.failures
    assert sum(tally.outcomes.values()) == 1_000
    assert {outcome for _, outcome in tally.outcomes} >= {"image", "broken_image", "unsupported_image"}


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this machine")
def test_coverage_guides_the_fuzzing(tmp_path: Path) -> None:
    """The coverage-guided fuzzer starts, runs and finds no failure in its first inputs."""
    command = [sys.executable, "-m", "tests.fuzz.coverage", "-runs=500", str(tmp_path / "corpus")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "Done 500 runs" in run.stderr
