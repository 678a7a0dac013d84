"""The JSON and the form fields of requests."""

from pathlib import Path

from pydantic import Field

from src.options import Options

__all__ = ["BatchRequest", "FileRequest", "RecognitionRequest"]


class RecognitionRequest(Options):
    """One image and its options."""

    img: str = Field(description="Image file as base64 (standard or URL-safe, line breaks ignored) or as a data: URL.")


class FileRequest(Options):
    """One image as a file of a multipart form; the options are fields of the same form."""

    img: Path = Field(description="Image file.", json_schema_extra={"format": "binary"})


class BatchRequest(Options):
    """Several images; the options apply to each of them."""

    imgs: list[str] = Field(
        min_length=1, description="Image files, each as in a request for one; 64 at most by default."
    )
