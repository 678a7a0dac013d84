"""How the make targets create the environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.wheels import write_wheel

UV = ROOT / ".venv" / "bin" / "uv"
HASH = f"    --hash=sha256:{'0' * 64}\n"  # of no wheel here: whatever is checked against it is refused
PINNED = (
    f"cuda-toolkit==13.2.2 ; sys_platform == 'linux' \\\n{HASH}"
    f"torch==2.15.0 \\\n{HASH}torchvision==0.29.2 \\\n{HASH}triton==3.9.0 \\\n{HASH}"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose list pins torch alone, an environment with uv, and two indexes with nearly empty wheels."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements-dev.txt").write_text(PINNED, encoding="utf-8")
    for index, build in (("usual", ""), ("cpu", "+cpu")):
        write_wheel(tmp_path / index, "torch", f"2.15.0{build}")
        write_wheel(tmp_path / index, "torchvision", f"0.29.2{build}")
    subprocess.run([UV, "venv", "--quiet", ".venv"], cwd=tmp_path, check=True)
    (tmp_path / ".venv" / "bin" / "uv").symlink_to(UV)
    return tmp_path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make where the usual index, and the only one that can be reached, is a folder."""
    places = {"UV_DEFAULT_INDEX": (checkout / "usual").as_uri(), "UV_CACHE_DIR": str(checkout / "cache")}
    environment = os.environ | places | {"UV_OFFLINE": "1"}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def installed(checkout: Path) -> set[str]:
    """Name the packages of the environment with their versions."""
    return {path.name.removesuffix(".dist-info") for path in (checkout / ".venv").rglob("*.dist-info")}


def test_torch_for_cpus_comes_without_cuda(checkout: Path) -> None:
    """TORCH=cpu takes torch from the index for CPUs, and nothing of CUDA; a later 'make setup' leaves it so."""
    done = make(checkout, "setup", "TORCH=cpu", f"TORCH_INDEX={(checkout / 'cpu').as_uri()}")
    assert done.returncode == 0, done.stderr
    assert installed(checkout) == {"torch-2.15.0+cpu", "torchvision-0.29.2+cpu"}
    assert "2 GB" in done.stdout
    assert "Nothing to be done" in make(checkout, "setup").stdout


def test_torch_for_cpus_works_without_an_index() -> None:
    """TORCH=cpu alone leaves it to uv to know where PyTorch has its builds for CPUs."""
    command = ["make", "--dry-run", "--always-make", "setup", "TORCH=cpu"]
    assert "--torch-backend cpu" in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_usual_environment_is_checked_by_hashes(checkout: Path) -> None:
    """Without TORCH=cpu a wheel that is not the pinned one is refused, wherever it comes from."""
    (checkout / "requirements-dev.txt").write_text(f"torch==2.15.0 \\\n{HASH}", encoding="utf-8")
    done = make(checkout, "setup", f"TORCH_INDEX={(checkout / 'cpu').as_uri()}")
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert not installed(checkout)


def test_an_image_for_cpus_asks_for_the_index(checkout: Path) -> None:
    """'make container TORCH=cpu' says what is missing before anything is made."""
    done = make(checkout, "container", "TORCH=cpu")
    assert done.returncode != 0
    assert "TORCH_INDEX" in done.stdout
    assert not installed(checkout)
