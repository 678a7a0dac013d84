"""Example requests, and the default network's answers to them, for the documentation of the API."""

from typing import Any, Final

from pydantic import BaseModel

from src.api.schemas.answers import BatchResponse, RecognitionResponse
from src.api.schemas.model import ModelResponse

__all__ = ["METRICS", "MODEL", "ONE", "ONE_ANSWER", "SEVERAL", "SEVERAL_ANSWERS"]


def _answer(model: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as the service serializes it, with all of its fields."""
    return model.model_validate(fields).model_dump(mode="json", by_alias=True)


# The cat of docs/cat.jpg, 48 pixels wide, as WebP; "Try it out" sends it.
_CAT: Final = (
    "UklGRqIBAABXRUJQVlA4IJYBAAAwCgCdASowADAAPu1urVKppiOio4z5MB2JYwC7NBR9aGs/wJnJdVTLRMvtYJm7wTg3cM1cldxV1pIsrCEbuw4k"
    "rdwJrDNiYdF0YefxxX+aRtXVPZbdkxiSm4AA+ez2I4VH92UaW74DxMSljkducP82ymkrBNjcWoRn/4NEaTJ90feUvJLuIiztczvhFblMSHnsiUqM"
    "C9CrsdFTNYvX25gfwVxRwZpGZOGjFCAuawaOrRBaiVw+xRb4CalhEpIPHaLQpS2k+UFBOnsZoSIRfEVVNZ198m+CewJ5yjsZ56YCEOLCqVGMWtWy"
    "wja91tUU/symZjHedCnINF5mPrX49qH6bmiQcZR3GbMI9cevTNq9WKU1WrPTrWMrfvf+PquGPLzDI9dbKfiTYWPQa/kY1pSCJ2NBl0X2aUdwkA3N"
    "4JYuSO3J5v9cKiHaTzKtPRw7v7x6/+0tmAOSd6PeYHMcHY4MccnxPPctJ3TGM5csC34RBu3CnpoCdMDo2xxgQtTt61sialbQh0HB64ZO/ojNqcfx"
    "nSKuCnAA"
)
ONE: Final = {"img": _CAT, "top_k": 3}
ONE_ANSWER: Final = _answer(
    RecognitionResponse,
    {
        "result": "Egyptian cat",
        "detail": [
            {"class": "Egyptian cat", "index": 285, "prob": 46.416},
            {"class": "tabby", "index": 281, "prob": 25.229},
            {"class": "tiger cat", "index": 282, "prob": 16.831},
        ],
        "other": 11.524,
        "gradcam": "/9j/4AAQSkZJRgABAQAA...",
        "explained": {
            "class": "Egyptian cat",
            "versus": None,
            "method": "gradcam",
            "evidence": True,
            "format": "jpeg",
        },
        "image": {"width": 48, "height": 48, "box": (3, 3, 45, 45)},
        "model": "image_recognition:zmr4jmhjhsxamax4",
    },
)
SEVERAL: Final = {"imgs": [_CAT, "bm90IGFuIGltYWdl"], "top_k": 3}
_NO_IMAGE: Final = "The image is not of an accepted format: send one of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIC."
SEVERAL_ANSWERS: Final = _answer(
    BatchResponse,
    {"results": [ONE_ANSWER, {"success": False, "error": {"code": "unsupported_image", "message": _NO_IMAGE}}]},
)
MODEL: Final = _answer(
    ModelResponse,
    {
        "model": "image_recognition:zmr4jmhjhsxamax4",
        "architecture": "timm/tf_efficientnet_lite0",
        "labels": ["tench", "goldfish", "great white shark"],
        "input": {
            "resize": 256,
            "crop": [224, 224],
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "layer": "bn2",
        "exact": True,
        "runtime": "openvino",
        "precision": "fp32",
        "device": "cpu",
        "check": None,
    },
)
METRICS: Final = """\
# HELP image_recognition_requests_total Requests that were answered.
# TYPE image_recognition_requests_total counter
image_recognition_requests_total{route="/image_recognition",status="200"} 1.0
"""
