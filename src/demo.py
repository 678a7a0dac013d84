"""Send a photo to the running service, show the classes as a table, write the picture with the heat on it."""

import argparse
import base64
import sys
from pathlib import Path
from typing import Final

import httpx

_BAR: Final = 30
_EXIT_FAILED: Final = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 where the photo was not recognized."""
    options = _parser().parse_args(arguments)
    try:
        data = (options.photo or _packaged_photo()).read_bytes()
        response = httpx.post(
            f"{options.url}/image_recognition", json={"img": base64.b64encode(data).decode()}, timeout=60
        )
        answer = response.json()
    except OSError as exc:
        return _failed(f"cannot read the photo: {exc}")
    except (httpx.HTTPError, ValueError) as exc:
        return _failed(f"no answer from {options.url} ({exc}): start the service with 'make serve' first")
    if not answer["success"]:
        return _failed(answer["error"]["message"])
    for score in answer["detail"]:
        bar = "#" * round(score["prob"] / 100 * _BAR)
        print(f"{score['class']:<24} {score['prob']:7.3f} %  {bar}")
    print(f"{'all others':<24} {answer['other']:7.3f} %")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(base64.b64decode(answer["gradcam"]))
    print(f"\nThe pixels that spoke for {answer['explained']['class']!r}: {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.demo", description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path, help="picture file (default: the cat that scikit-image ships)")
    parser.add_argument("--url", default="http://localhost:8000", help="address of the service (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("demo/heatmap.jpg"), help="where to write (default: %(default)s)"
    )
    return parser


def _packaged_photo() -> Path:
    from skimage import data  # noqa: PLC0415 - only the default photo needs it

    return Path(data.__file__).parent / "chelsea.png"


def _failed(message: str) -> int:
    print(f"demo: {message}", file=sys.stderr)
    return _EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
