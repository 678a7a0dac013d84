"""The tutorial's service, re-created: FastAPI around the naive handler; started by uvicorn, one worker per core."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from tests.benchmarks.naive import NaiveHandler

app = FastAPI()
handler = NaiveHandler()


class Picture(BaseModel):
    """A picture file in base64."""

    img: str


@app.get("/ready")
async def ready() -> bool:
    """Answer as soon as the network is loaded."""
    return True


@app.post("/image_recognition")
async def image_recognition(picture: Picture) -> dict[str, Any]:
    """Recognize one picture; it blocks the worker, as the tutorial's does."""
    return handler.answer(picture.img)
