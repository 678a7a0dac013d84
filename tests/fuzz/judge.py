"""Check the result and the cost of decoding a file."""

from src.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from src.stages.decode import DecodeLimits, Enough, decode_image
from tests.cost import Cost, cost_of

__all__ = ["MOST_BYTES", "MOST_SECONDS", "judge"]

MOST_SECONDS = 2.0
MOST_BYTES = 500_000_000
_LIMITS = DecodeLimits()


def judge(data: bytes, enough: Enough | None = None) -> tuple[str, Cost]:
    """Decode ``data``; return "image" or the error code, and the cost.

    Raises:
        AssertionError: The image is not RGB or exceeds the limits, the error message is too long, or the cost too high.
        Exception: Any other exception, which is a defect of the decoding.
    """
    outcome, message = "", ""

    def decode() -> None:
        nonlocal outcome, message
        try:
            decoded = decode_image(data, _LIMITS, enough)
        except (BrokenImage, ImageTooLarge, UnsupportedImage) as exc:
            outcome, message = exc.code, exc.message
            return
        image = decoded.raster
        assert image.mode == "RGB"
        assert 0 < decoded.width * decoded.height <= _LIMITS.pixels
        assert max(decoded.width, decoded.height) <= _LIMITS.side
        assert image.size == (decoded.width, decoded.height) or enough is not None
        assert len(image.getpixel((image.width - 1, image.height - 1))) == 3  # type: ignore[arg-type] # it has bands
        outcome = "image"

    cost = cost_of(decode)
    assert len(message) < 400, message
    assert cost.seconds < MOST_SECONDS, f"{cost.seconds:.2f} s"
    assert cost.bytes < MOST_BYTES, f"{cost.bytes / 1e6:.0f} MB"
    return outcome, cost
