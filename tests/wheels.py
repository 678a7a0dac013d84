"""Write nearly empty wheels and an index of them, as a stand-in for PyTorch's index."""

import zipfile
from pathlib import Path

__all__ = ["write_wheel"]


def write_wheel(index: Path, name: str, version: str) -> None:
    """Write a wheel of a package that holds its version alone into the folder of an index, and its page there."""
    (index / name).mkdir(parents=True)
    about = f"{name}-{version}.dist-info"
    wheel = index / name / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{about}/RECORD", f"{name}/__init__.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n"
        )
    (index / name / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>\n', encoding="utf-8")
