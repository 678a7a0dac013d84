"""The Bento service: image recognition with Grad-CAM over HTTP, on port 8000."""

# The engine is slow to import: only the worker, which instantiates the service, pays for it; the processes that
# supervise the workers, document the API or build the bento do not.
# ruff: noqa: PLC0415

from __future__ import annotations

import gc
import socket
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from bentoml.images import Image
from bentoml.models import BentoModel
from yaml import YAMLError

from src.api.schemas.answers import BatchResponse, RecognitionResponse
from src.api.schemas.requests import BatchRequest, FileRequest, RecognitionRequest
from src.api.telemetry.logs import configure_logs
from src.errors import ModelError, ModelMissing
from src.runtimes.select import choose, torch_is_installed
from src.settings import read_settings
from src.store.files import checked_manifest

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from src.api.endpoints import Endpoints

gc.freeze()  # what is imported stays: the collector would look through all of it again and again
SETTINGS: Final = read_settings()
configure_logs(SETTINGS.log_format)
# Dependencies of two packages that must not be installed here; pyproject.toml has the same overrides, and the reasons.
NEVER: Final = ' ; sys_platform == \\"never\\"'
OVERRIDES: Final = f"override-dependencies = ['flask{NEVER}', 'openvino-telemetry{NEVER}']"
PORT: Final = 8000
IMAGE: Final = Image(
    base_image="python:3.11-slim",
    python_version="3.11",
    distro="none",  # "debian" would install compilers and git: half a gigabyte that nothing here needs
    commands=[
        f'mkdir -p /etc/uv && echo "{OVERRIDES}" > /etc/uv/uv.toml',
        # BentoML creates these at startup, which fails on a read-only file system and for other users.
        "cd $BENTOML_HOME && mkdir bentos envs models tmp && chmod 755 .",
    ],
)


class StoredNetwork(BentoModel):
    """Makes BentoML pack the model into a bento; says what to do if it is missing, damaged or cannot run here."""

    def resolve(self, *args: Any, **kwargs: Any) -> bentoml.Model:
        try:
            if self.stored is None:
                raise ModelMissing(str(self.tag))
            manifest = checked_manifest(Path(self.stored.path))
            always_runs = SETTINGS.device == SETTINGS.runtime == "auto" and torch_is_installed()
            if not always_runs:
                choose(manifest, SETTINGS.device, SETTINGS.runtime)
        except ModelError as exc:
            raise NotFound(_with_variables(exc)) from exc
        except YAMLError as exc:
            raise NotFound(
                f"The model {self.tag} is damaged (its model.yaml): store it again with save_model.py."
            ) from exc
        return super().resolve(*args, **kwargs)


class Documented(bentoml.IODescriptor):
    """Documents the fields of a request for BentoML and its clients, but passes the raw request to the method.

    Our own code thus reads, limits and refuses every byte and uses one error format. BentoML's parsers fetch URLs,
    spool to disk, and log a traceback for invalid requests.
    """

    __root_input__: ClassVar[bool] = True

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Request:
        return request

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        schema = super().model_json_schema(*args, **kwargs)
        schema.pop("root_input", None)  # clients pass the fields by name: client.image_recognition(img=..., top_k=3)
        return schema


class JsonInput(Documented, RecognitionRequest):
    """One image as JSON."""


class FileInput(Documented, FileRequest):
    """One image as a file."""


class BatchInput(Documented, BatchRequest):
    """Several images as JSON."""


class OwnApplication(bentoml.Service[Any]):
    """A service whose requests go to our own application, with BentoML's behind it."""

    @cached_property
    def endpoints(self) -> Endpoints:
        from src.api.endpoints import Endpoints

        return Endpoints(SETTINGS)

    def to_asgi(self, is_main: bool = True) -> ASGIApp:  # noqa: FBT001, FBT002 - the signature is that of bentoml
        gc.disable()  # until the model is loaded
        from src.api.app import create_app
        from src.api.connections import guard_connections

        guard_connections(SETTINGS.timeout, self.endpoints.metrics)
        return create_app(SETTINGS, self.endpoints, super().to_asgi(is_main))


@bentoml.service(
    name="image_recognition",
    image=IMAGE,
    http={"port": PORT},
    service_class=OwnApplication,
    metrics={"enabled": False},  # /metrics is ours
    envs=[
        {"name": "BENTOML_DO_NOT_TRACK", "value": "True"},
        {"name": "OPENBLAS_NUM_THREADS", "value": "1"},  # NumPy's products: the other cores process other images
        # The memory of one image is kept for the next: clearing it anew would take the kernel a fifth of the time.
        {"name": "MALLOC_MMAP_THRESHOLD_", "value": str(32 << 20)},
        {"name": "MALLOC_TRIM_THRESHOLD_", "value": str(64 << 20)},
    ],
)
class ImageRecognition:
    """Recognize images: their classes, how confident the model is, and which pixels support the answer."""

    model = StoredNetwork(SETTINGS.model)

    @bentoml.on_deployment
    @staticmethod
    def check_start() -> None:
        """Refuse a model that cannot be served, and a port that is in use, in one sentence before the server starts."""
        _check_served(ImageRecognition)
        _check_port()

    def __init__(self) -> None:
        from src.api.schemas.model import ModelResponse
        from src.pipeline import Pipeline
        from src.runtimes.select import start
        from src.stages.decode import DecodeLimits
        from src.store import bundle

        stored = bundle.load(_served_tag(ImageRecognition))
        self.endpoints = _endpoints(ImageRecognition)
        running = start(
            stored.folder,
            stored.manifest,
            threads=SETTINGS.threads,
            device=SETTINGS.device,
            runtime=SETTINGS.runtime,
            precision=SETTINGS.precision,
            batching=self.endpoints.batching(stored.manifest.batch),
        )
        limits = DecodeLimits(SETTINGS.max_pixels, SETTINGS.max_input_side)
        pipeline = Pipeline(stored.manifest, running, limits, stored.familiarity, exact=SETTINGS.resize == "exact")
        self.endpoints.serve(pipeline, ModelResponse.of(stored, running))
        gc.freeze()
        gc.enable()

    @bentoml.api(input_spec=JsonInput, output_spec=RecognitionResponse)
    async def image_recognition(self, request: Request) -> Response:
        """Recognize one image: its classes with percentages, and a heatmap that explains one of them."""
        return await self.endpoints.json(request)

    @bentoml.api(input_spec=FileInput, output_spec=RecognitionResponse)
    async def image_recognition_file(self, request: Request) -> Response:
        """Recognize one image, sent as a file."""
        return await self.endpoints.file(request)

    @bentoml.api(input_spec=BatchInput, output_spec=BatchResponse)
    async def image_recognition_batch(self, request: Request) -> Response:
        """Recognize several images; one that fails does not affect the others."""
        return await self.endpoints.batch(request)


def _with_variables(error: ModelError) -> str:
    """Return the message of ``error``, with the environment variables that resolve it."""
    prefix = SETTINGS.model_config["env_prefix"]
    variables = [f"{prefix}{remedy.field.upper()}={remedy.value}" for remedy in error.remedies]
    return f"{error} Set {' or '.join(variables)}." if variables else str(error)


def _served_tag(service: bentoml.Service[ImageRecognition]) -> str:
    """Return the tag in the settings; in a bento without that setting, the tag of the packed model."""
    if service.bento is None or "model" in SETTINGS.model_fields_set:
        return SETTINGS.model
    return str(service.bento.info.all_models[0].tag)


def _endpoints(service: bentoml.Service[ImageRecognition]) -> Endpoints:
    return service.endpoints


def _check_served(service: bentoml.Service[ImageRecognition]) -> None:
    if service.bento is not None:  # BentoML has only resolved the packed model, without our checks
        StoredNetwork(_served_tag(service)).resolve()


def _check_port() -> None:
    """Refuse a port that cannot be used; BentoML itself would end in a traceback."""
    import click

    command = click.get_current_context(silent=True)
    options = command.params if command else {}
    host, port = options.get("host") or "", options.get("port") or PORT
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as exc:
        raise BentoMLException(
            f"The service cannot listen on port {port} ({exc.strerror}): choose another with --port."
        ) from exc
