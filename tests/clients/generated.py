"""Send requests with the client that openapi-python-client generated as the package ``generated``; print answers."""

# ruff: noqa: T201
# mypy: ignore-errors
import base64
import sys
from io import BytesIO
from pathlib import Path

from generated import Client
from generated.api.model import get_model
from generated.api.recognition import (
    post_image_recognition,
    post_image_recognition_batch,
    post_image_recognition_file,
)
from generated.models import BatchRequest, FileRequest, RecognitionRequest
from generated.types import File

url, photo = sys.argv[1], Path(sys.argv[2]).read_bytes()
client, img = Client(base_url=url), base64.b64encode(photo).decode()
print(post_image_recognition.sync(client=client, body=RecognitionRequest(img=img, top_k=2)).result)
print(post_image_recognition.sync(client=client, body=RecognitionRequest(img="!")).error.code)
file = FileRequest(img=File(BytesIO(photo), "photo"), target="tabby")
print(post_image_recognition_file.sync(client=client, body=file).explained.class_)
batch = post_image_recognition_batch.sync(client=client, body=BatchRequest(imgs=[img, "!"])).results
print(*(one.result if one.success else one.error.code for one in batch))
print(get_model.sync(client=client).architecture)
