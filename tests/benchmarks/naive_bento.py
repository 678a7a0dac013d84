"""The naive handler in BentoML with default settings, as a beginner would write it."""

from typing import Any

import bentoml

from tests.benchmarks.naive import NaiveHandler


@bentoml.service
class NaiveBento:
    """The tutorial's handler as a Bento service."""

    def __init__(self) -> None:
        self.handler = NaiveHandler()

    @bentoml.api  # type: ignore[untyped-decorator] # bentoml loads its names lazily
    def image_recognition(self, img: str) -> dict[str, Any]:
        """Recognize one image."""
        return self.handler.answer(img)
