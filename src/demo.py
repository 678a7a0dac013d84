"""Send an image to the running service, print the classes, and write the image with the heatmap drawn on it.

A service with an API key gets the one in IMAGE_RECOGNITION_API_KEY.
"""

import argparse
import base64
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from src.errors import described

_BAR: Final = 30
_EXIT_FAILED: Final = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 if the image was not recognized."""
    options = _parser().parse_args(arguments)
    try:
        answer = _ask(options.url, (options.image or _packaged_photo()).read_bytes())
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_bytes(base64.b64decode(answer["gradcam"]))
    except OSError as exc:
        return _failed(described(exc))
    except _NoAnswerError as exc:
        return _failed(f"{options.url} {exc}")
    for score in answer["detail"]:
        bar = "#" * round(score["prob"] / 100 * _BAR)
        print(f"{score['class']:<24} {score['prob']:7.3f} %  {bar}")
    if answer["other"] is not None:
        print(f"{'all others':<24} {answer['other']:7.3f} %")
    if "results" in answer:
        print(f"\nAbove their thresholds: {', '.join(answer['results']) or 'none'}")
    for sentence in _confidence(answer.get("confidence") or {}):
        print(f"\n{sentence}")
    print(f"\nHeatmap of {answer['explained']['class']!r}: {options.out}")
    return 0


def _confidence(said: dict[str, Any]) -> Iterator[str]:
    if said.get("familiar") is False:
        yield "This does not resemble the images that the model has learned."
    if said.get("set"):
        yield f"In {said['coverage']} % of all cases the right class is among: {', '.join(said['set'])}"


class _NoAnswerError(Exception):
    """The service did not recognize the image; the message continues after its URL."""


def _ask(url: str, data: bytes) -> dict[str, Any]:
    try:
        img = base64.b64encode(data).decode()
        key = os.environ.get("IMAGE_RECOGNITION_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.post(
            f"{url.rstrip('/')}/image_recognition", json={"img": img}, headers=headers, timeout=60
        ).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        raise _NoAnswerError(f"does not answer ({exc}): start the service with 'make serve' first.") from exc
    if not isinstance(answer, dict) or "success" not in answer:
        raise _NoAnswerError("is another service: set the URL of this one with --url.")
    if not answer["success"]:
        raise _NoAnswerError(f"refused the image: {answer['error']['message']}")
    return answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.demo", description=__doc__)
    parser.add_argument("image", nargs="?", type=Path, help="image file (default: the cat that scikit-image ships)")
    parser.add_argument("--url", default="http://localhost:8000", help="URL of the service (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("demo/heatmap.jpg"), help="file to write (default: %(default)s)"
    )
    return parser


def _packaged_photo() -> Path:
    from skimage import data  # noqa: PLC0415 - only the default image needs it

    return Path(data.__file__).parent / "chelsea.png"


def _failed(message: str) -> int:
    print(f"demo: {message}", file=sys.stderr)
    return _EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
