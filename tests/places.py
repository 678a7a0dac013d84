"""Paths that tests use, and the version of the project."""

import tomllib
from pathlib import Path
from typing import Final

import skimage.data

ROOT: Final = Path(__file__).parent.parent
VERSION: Final[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
SHARED_DATA: Final = ROOT.parent / "shared" / "data"
PACKAGED_PHOTOS: Final = tuple(
    Path(skimage.data.__file__).parent / name for name in ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")
)
