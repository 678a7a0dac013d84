"""BentoML around the naive handler, as a beginner writes it: every setting as it comes."""

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
