"""Measure src.bulk, its libraries alone and the usual recipe on the same images, and its scaling with cores and nodes.

Do not use the machine meanwhile.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from PIL import Image

from src.cores import usable_cores
from tests.benchmarks.services import user_environment
from tests.benchmarks.store import store_default
from tests.places import PACKAGED_PHOTOS, ROOT

_SIZE: Final = (500, 375)
_REPEATS: Final = 3
_HERE: Final = Path(__file__).parent
_GOAL: Final = 0.85
_OURS: Final = "src.bulk"
_ALONE: Final = "libraries alone"


def main() -> None:
    """Run the benchmark, and write its table and plot."""
    parser = argparse.ArgumentParser(prog="python -m tests.archive.benchmark", description=__doc__)
    parser.add_argument("--images", type=int, default=4000, help="number of images (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=_REPEATS, help="runs of each case (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks"), help="output folder (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulk-benchmark-") as scratch:
        folder = Path(scratch)
        _write_images(folder / "images", options.images)
        store_default()
        rates = _measured(folder, usable_cores(), options.repeats)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bulk.md").write_text(_table(rates))
    _plot(rates).savefig(options.out / "bulk.png", dpi=110)
    sys.stdout.write(_table(rates))


def _measured(folder: Path, cores: int, repeats: int) -> dict[str, list[float]]:
    """Return the images per second of every case, measured ``repeats`` times, with the cases in turn."""
    images = str(folder / "images")

    def other(script: str, cpus: int, part: str = images) -> Callable[[], float]:
        return lambda: float(_run([str(_HERE / script), part, str(cpus)]).splitlines()[-1])

    def ours(name: str, *command: str) -> Callable[[], float]:
        def rate() -> float:
            output = Path(tempfile.mkdtemp(dir=folder, prefix=name))
            _run([*command, images, str(output)])
            return _rate(output)

        return rate

    cases = {
        f"{_ALONE}, {cores} cores": other("libraries.py", cores),
        f"{_OURS}, {cores} cores": ours("all", "-m", "src.bulk"),
        f"usual recipe, {cores} cores": other("usual.py", cores, f"{images}/000"),  # a thousand: it is slow
        f"{_ALONE}, 1 core": other("libraries.py", 1),
        f"{_OURS}, 1 core": ours("one", "-m", "src.bulk", "--concurrency=1"),
        f"{_OURS}, 1 node of 1 core": ours("node", str(_HERE / "nodes.py"), "1"),
        f"{_OURS}, 2 nodes of 1 core": ours("nodes", str(_HERE / "nodes.py"), "2"),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, measure in cases.items():
            rates[name].append(measure())
            sys.stderr.write(f"{name:32} {rates[name][-1]:7.1f}/s\n")
    return rates


def _rate(output: Path) -> float:
    """Return the images per second of ``output``, from the start of the first part to the last file."""
    began, ended, images = [], [], 0
    for part in output.glob("part-*"):
        figures = json.loads(pq.read_metadata(part).metadata[b"image_recognition"])["figures"]
        ended.append(part.stat().st_mtime)
        began.append(ended[-1] - figures["seconds"])
        images += figures["images"]
    return float(images / (max(ended) - min(began)))


def _run(command: Sequence[str]) -> str:
    environment = {**user_environment(), "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    if found.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {found.stderr[-2000:]}")
    return found.stdout


def _write_images(folder: Path, count: int) -> None:
    """Write random crops of photos as JPEG files, in the size of ImageNet photos."""
    rng = np.random.default_rng(0)
    photos = [Image.open(file).convert("RGB") for file in PACKAGED_PHOTOS]
    for index in range(count):
        photo = photos[index % len(photos)]
        share = rng.uniform(0.4, 0.9)
        left, top = rng.uniform(0, 1 - share, 2) * photo.size
        box = (left, top, left + share * photo.width, top + share * photo.height)
        content = BytesIO()
        photo.resize(_SIZE, box=box).save(content, "JPEG", quality=88)
        file = folder / f"{index // 1000:03d}" / f"{index:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.getvalue())


def _table(rates: dict[str, list[float]]) -> str:
    (alone, best), (_, ours), *_ = [(name, median(found)) for name, found in rates.items()]
    lines = ["| | images/s, median | all runs |", "|---|--:|---|"]
    lines += [
        f"| {name} | {median(found):.1f} | {', '.join(f'{one:.1f}' for one in found)} |"
        for name, found in rates.items()
    ]
    verdict = "met" if ours / best >= _GOAL else "missed"
    return "\n".join([*lines, "", f"{ours / best:.0%} of {alone} (goal {_GOAL:.0%}: {verdict})", ""])


def _plot(rates: dict[str, list[float]]) -> Figure:
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    names = list(rates)[::-1]
    colors = ["#0b6e4f" if name.startswith(_OURS) else "#999999" for name in names]
    bars = axes.barh(names, [median(rates[name]) for name in names], color=colors)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set_xlabel("images per second")
    axes.margins(x=0.1)
    return figure


if __name__ == "__main__":
    main()
