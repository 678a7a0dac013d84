"""The tutorial's service, re-created: the naive handler in FastAPI, for uvicorn with one worker per core."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from tests.benchmarks.naive import NaiveHandler

app = FastAPI()
handler = NaiveHandler()


class Picture(BaseModel):
    """An image file in base64."""

    img: str


@app.get("/ready")
async def ready() -> bool:
    """Answer as soon as the network is loaded."""
    return True


@app.post("/image_recognition")
async def image_recognition(picture: Picture) -> dict[str, Any]:
    """Recognize one image, blocking the worker as the tutorial does."""
    return handler.answer(picture.img)
