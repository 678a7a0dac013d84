"""Private and undocumented interfaces of other packages that the product uses: what breaks, and a contract for each.

The packages may change them in any release: pyproject.toml bounds their versions from above, and these tests say what
has to be looked at before a bound is raised.
"""

import asyncio
import copy
import inspect
import re
import subprocess
import sys
import tomllib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import bentoml
import numpy as np
import prometheus_client
import pytest
import torch
import torch._weights_only_unpickler as unpickler
from bentoml.models import BentoModel
from PIL import Image
from prometheus_client import values
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from uvicorn import Config
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service import ImageRecognition, OwnApplication
from src.api.telemetry.logs import _OF_OTHERS
from src.checkpoints.reading.stand_ins import attribute, stand_in
from src.conversion.capture import capture
from src.conversion.decompositions import decompositions
from src.conversion.gradient import gradient_graph
from src.stages.input_spec import InputSpec
from src.stages.raster import raster_over
from tests.places import ROOT

SERVICE: Final[Any] = ImageRecognition  # a class to the type checker


@dataclass(frozen=True)
class Interface:
    """One interface: its ``package``, its ``name`` there, the file that uses it, and what breaks if it changes."""

    package: str
    name: str
    used_in: str
    breaks: str
    contract: Callable[[], None]


async def _endpoint(request: Request) -> Response:
    return PlainTextResponse(type(request).__name__)


async def _fail(_: Request) -> Response:
    raise RuntimeError


async def _respond(_: Request, exc: Exception) -> Response:
    return PlainTextResponse(type(exc).__name__, 418)


def _the_choice_of_the_protocol_is_looked_up_when_the_server_is_configured() -> None:
    class Ours(HttpToolsProtocol):
        pass

    before, auto.AutoHTTPProtocol = auto.AutoHTTPProtocol, Ours
    try:
        config = Config(_endpoint, http="auto")
        config.load()
        assert config.http_protocol_class is Ours
    finally:
        auto.AutoHTTPProtocol = before


def _the_protocol_has_what_ours_overrides_and_reads() -> None:
    hooks = {
        "connection_made": ["transport"],
        "connection_lost": ["exc"],
        "data_received": ["data"],
        "on_headers_complete": [],
        "on_body": ["body"],
        "on_message_complete": [],
        "on_response_complete": [],
        "pause_writing": [],
        "resume_writing": [],
        "send_400_response": ["msg"],
    }
    for name, arguments in hooks.items():
        assert list(inspect.signature(getattr(HttpToolsProtocol, name)).parameters)[1:] == arguments
    loop = asyncio.new_event_loop()
    try:
        protocol = HttpToolsProtocol(Config(_endpoint), ServerState(), {}, loop)
        protocol.on_message_begin()
    finally:
        loop.close()
    assert {"headers", "url"} <= set(vars(protocol))
    assert {"access_log", "client", "cycle", "logger", "loop", "parser", "pipeline", "transport"} <= set(vars(protocol))
    assert {"ws_protocol_class"} <= set(vars(protocol))


def _a_refused_preflight_can_be_reworded() -> None:
    class Ours(CORSMiddleware):
        def preflight_response(self, request_headers: Headers) -> Response:
            response = super().preflight_response(request_headers)
            assert (response.status_code, bytes(response.body)) == (400, b"Disallowed CORS origin")
            return PlainTextResponse("ours", 418)

    app = Starlette(middleware=[Middleware(Ours, allow_origins=["https://example.org"], allow_methods=["POST"])])
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    assert TestClient(app).options("/", headers=headers).text == "ours"


def _redirects_can_be_switched_off() -> None:
    app = Starlette(routes=[Route("/known", _endpoint)])
    app.router.redirect_slashes = False
    assert TestClient(app).get("/known/", follow_redirects=False).status_code == 404


def _the_life_of_one_application_can_be_lived_by_another() -> None:
    lived: list[object] = []

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        lived.append(app)
        yield
        lived.append("ended")

    inner = Starlette(lifespan=life)

    async def live() -> None:
        async with inner.router.lifespan_context(inner):
            assert lived == [inner]

    asyncio.run(live())
    assert lived == [inner, "ended"]


def _an_exception_handler_can_stand_inside_other_middleware() -> None:
    app = Starlette(
        routes=[Route("/", _fail)],
        middleware=[Middleware(ExceptionMiddleware, handlers={Exception: _respond})],
        exception_handlers={HTTPException: _respond},
    )
    assert TestClient(app).get("/").text == "RuntimeError"
    assert TestClient(app).get("/nothing").text == "HTTPException"


def _bentoml_lets_the_service_make_its_own_application() -> None:
    made: list[str] = []

    class Own(bentoml.Service[Any]):  # type: ignore[misc] # bentoml has no types
        def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002 - the signature is that of bentoml
            bento = super().to_asgi(is_main)
            assert isinstance(bento, Starlette)

            @asynccontextmanager
            async def lifespan(_: Starlette) -> AsyncIterator[None]:
                async with bento.router.lifespan_context(bento):
                    yield

            routes = [Mount("/", bento.router)]
            return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _respond})

    class Tiny:
        def __init__(self) -> None:
            made.append("service")

    app = bentoml.service(service_class=Own, metrics={"enabled": False})(Tiny).to_asgi()
    assert not made
    with TestClient(app) as client:
        assert made == ["service"]
        for path in ("/livez", "/readyz", "/healthz", "/schema.json"):
            assert client.get(path).status_code == 200
        assert client.get("/nothing").text == "HTTPException"
    assert isinstance(SERVICE, OwnApplication)


def _bentoml_hands_on_the_request_as_our_input_took_it() -> None:
    assert SERVICE.apis.keys() == {"image_recognition", "image_recognition_file", "image_recognition_batch"}
    for method in SERVICE.apis.values():
        assert method.input_spec.__root_input__
        request = Request({"type": "http"})
        assert asyncio.run(method.input_spec.from_http_request(request, None)) is request
        assert "root_input" not in method.schema()["input"]
        assert "properties" in method.schema()["input"]


def _bentoml_asks_the_model_reference_to_resolve_itself() -> None:
    (model,) = SERVICE.models
    assert type(model).__mro__[1] is BentoModel
    assert str(model.tag) == "image_recognition:latest"
    assert "stored" in dir(BentoModel)
    assert SERVICE.bento is None  # in a bento it has info.all_models, which tests/test_bento.py reads


def _bentoml_writes_the_log_through_these_handlers() -> None:
    code = (
        "import logging; from bentoml._internal.log import configure_server_logging as configure; configure();"
        "print(*sorted(name for name, each in logging.root.manager.loggerDict.items() if getattr(each, 'handlers', 0)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bentoml" in shown
    assert set(shown) <= set(_OF_OTHERS)


def _prometheus_client_lets_the_kind_of_value_be_chosen() -> None:
    assert values.ValueClass is values.MutexValue
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("contract", "Of a contract.", registry=registry)
    assert type(counter._value) is values.MutexValue


def _torch_decomposes_what_its_core_leaves_whole() -> None:
    table = decompositions()
    assert {torch.ops.aten.native_layer_norm_backward.default, torch.ops.aten.convolution_backward.default} <= set(
        table
    )


def _captured(network: torch.nn.Module) -> torch.fx.GraphModule:
    spec = InputSpec(resize=8, crop=(8, 8), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    return capture(network.eval().requires_grad_(requires_grad=False), spec)


def _torch_traces_through_autograd_with_constants_of_the_head() -> None:
    head = _captured(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten(), torch.nn.Linear(4, 2)))
    graph = gradient_graph(head, torch.zeros(1, 3, 8, 8), 2)
    assert graph(torch.zeros(5, 3, 8, 8), torch.ones(5, 2)).shape == (5, 3, 8, 8)


def _torch_names_operations_that_work_in_place_after_the_others() -> None:
    written, plain = torch.ops.aten.relu_.default, torch.ops.aten.relu.default
    assert (written._schema.is_mutable, plain._schema.is_mutable) == (True, False)
    assert (str(written), written._overloadname) == ("aten.relu_.default", "default")


def _torch_says_which_module_an_operation_is_from() -> None:
    module = _captured(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)))
    paths = [node.meta["nn_module_stack"] for node in module.graph.nodes if "conv2d" in node.name]
    assert [list(stack.values())[-1][0] for stack in paths] == ["0"]


def _torch_asks_whether_a_class_equals_those_that_may_be_loaded() -> None:
    known = stand_in("own.Known")
    for other in (attribute(known, "Inner"), known("x")):
        assert other in {"own.Known": known}.values()
        assert other not in [torch.nn.Parameter, torch.Tensor]
    assert known in [dict, OrderedDict, Counter]
    source = inspect.getsource(unpickler.Unpickler)
    assert "not in [dict, OrderedDict, Counter]" in source
    assert "not in _get_user_allowed_globals().values()" in source


def _pillow_makes_an_image_over_memory_that_is_ours() -> None:
    for shape, mode in (((2, 3, 4), "RGB"), ((2, 3), "L")):
        pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        image = raster_over(pixels)
        assert (image.mode, image.size) == (mode, (3, 2))
        shown = pixels[:, :, :3] if mode == "RGB" else pixels
        assert np.array_equal(np.asarray(image), shown)
        pixels += 100  # the image shows it: it is no copy
        assert np.array_equal(np.asarray(image), shown)
        image.putpixel((0, 0), 0)
        assert pixels.flat[0] == 100  # what changes the image leaves the memory alone
    with pytest.raises(ValueError, match="not large enough"):
        Image.core.map_buffer(np.zeros(11, np.uint8), (3, 1), "raw", 0, ("RGB", 0, 1))  # type: ignore[attr-defined]


def _state_dicts_have_versions() -> None:
    assert torch.nn.BatchNorm2d(1).state_dict()._metadata[""] == {"version": 2}  # type: ignore[attr-defined]


def _a_module_can_be_copied_with_other_children() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten())
    part = copy.copy(network)
    part._modules = {**network._modules, "0": torch.nn.Identity()}
    assert [type(one).__name__ for one in (network[0], part[0])] == ["Flatten", "Identity"]


def _all_batch_norms_have_one_base() -> None:
    base = torch.nn.modules.batchnorm._BatchNorm
    assert issubclass(torch.nn.BatchNorm2d, base)
    assert issubclass(torch.nn.SyncBatchNorm, base)


INTERFACES: Final = (
    Interface(
        "uvicorn", "protocols.http.auto.AutoHTTPProtocol", "src/api/connections.py",
        "heads, slow clients and pipelining have no limits, what is no HTTP is answered in plain text",
        _the_choice_of_the_protocol_is_looked_up_when_the_server_is_configured,
    ),
    Interface(
        "uvicorn", "protocols.http.httptools_impl.HttpToolsProtocol", "src/api/connections.py",
        "the same, or every connection fails", _the_protocol_has_what_ours_overrides_and_reads,
    ),
    Interface(
        "starlette", "middleware.cors.CORSMiddleware.preflight_response", "src/api/middleware/cors.py",
        "refused preflights are plain text", _a_refused_preflight_can_be_reworded,
    ),
    Interface(
        "starlette", "routing.Router.redirect_slashes", "src/api/app.py",
        "an address with a slash behind it redirects to whatever host the client names", _redirects_can_be_switched_off,
    ),
    Interface(
        "starlette", "routing.Router.lifespan_context", "src/api/app.py",
        "the model is never loaded", _the_life_of_one_application_can_be_lived_by_another,
    ),
    Interface(
        "starlette", "middleware.exceptions.ExceptionMiddleware", "src/api/app.py",
        "errors are plain text, without an id and without CORS headers",
        _an_exception_handler_can_stand_inside_other_middleware,
    ),
    Interface(
        "pillow", "Image.core.map_buffer", "src/stages/raster.py",
        "no JPEG file and no large image can be recognized", _pillow_makes_an_image_over_memory_that_is_ours,
    ),
    Interface(
        "pillow", "Image.Image._new", "src/stages/raster.py",
        "no JPEG file and no large image can be recognized", _pillow_makes_an_image_over_memory_that_is_ours,
    ),
    Interface(
        "bentoml", "Service.to_asgi", "service.py",
        "BentoML answers in place of our application", _bentoml_lets_the_service_make_its_own_application,
    ),
    Interface(
        "bentoml", "IODescriptor.from_http_request", "service.py",
        "the schema of the routes, and with it BentoML's clients", _bentoml_hands_on_the_request_as_our_input_took_it,
    ),
    Interface(
        "bentoml", "models.BentoModel.resolve", "service.py",
        "a missing model is a traceback", _bentoml_asks_the_model_reference_to_resolve_itself,
    ),
    Interface(
        "bentoml", "_internal.log.configure_server_logging", "src/api/telemetry/logs.py",
        "some lines of a JSON log are text", _bentoml_writes_the_log_through_these_handlers,
    ),
    Interface(
        "prometheus-client", "values.ValueClass", "src/api/telemetry/metrics.py",
        "metrics are kept in files: a full disk ends the worker", _prometheus_client_lets_the_kind_of_value_be_chosen,
    ),
    Interface(
        "torch", "_decomp.core_aten_decompositions", "src/conversion/decompositions.py",
        "OpenVINO cannot convert gradients", _torch_decomposes_what_its_core_leaves_whole,
    ),
    Interface(
        "torch", "fx.experimental.proxy_tensor.make_fx._allow_non_fake_inputs", "src/conversion/gradient.py",
        "no gradient is captured", _torch_traces_through_autograd_with_constants_of_the_head,
    ),
    Interface(
        "torch", "ops.OpOverload._overloadname", "src/conversion/capture.py",
        "capturing takes ten times as long, or keeps what works in place",
        _torch_names_operations_that_work_in_place_after_the_others,
    ),
    Interface(
        "torch", "fx.Node.meta.nn_module_stack", "src/conversion/cut.py",
        "layers have no names", _torch_says_which_module_an_operation_is_from,
    ),
    Interface(
        "torch", "serialization.safe_globals", "src/checkpoints/reading/pickled.py",
        "files with dictionaries of their own classes, or classes in classes, are refused",
        _torch_asks_whether_a_class_equals_those_that_may_be_loaded,
    ),
    Interface(
        "torch", "nn.Module.state_dict._metadata", "src/checkpoints/tensors.py",
        "networks with versions, such as mnasnet, load wrong", _state_dicts_have_versions,
    ),
    Interface(
        "torch", "nn.Module._modules", "src/training/classifier.py",
        "training runs the frozen layers twice", _a_module_can_be_copied_with_other_children,
    ),
    Interface(
        "torch", "nn.modules.batchnorm._BatchNorm", "src/training/classifier.py",
        "batch norms forget their statistics in training", _all_batch_norms_have_one_base,
    ),
)  # fmt: skip
NAMES: Final = [f"{interface.package}.{interface.name}" for interface in INTERFACES]


@pytest.mark.parametrize("interface", INTERFACES, ids=NAMES)
def test_an_interface_keeps_its_contract(interface: Interface) -> None:
    """What the product relies on holds in the installed version."""
    try:
        interface.contract()
    except Exception as exc:
        changed = f"{interface.package} {version(interface.package)} changed {interface.name}: {interface.breaks}"
        raise AssertionError(f"{changed}; see {interface.used_in}") from exc


@pytest.mark.parametrize("interface", INTERFACES, ids=NAMES)
def test_an_interface_is_used_where_the_list_says(interface: Interface) -> None:
    """The list names no interface that nothing uses any more."""
    assert interface.name.rpartition(".")[2] in (ROOT / interface.used_in).read_text(encoding="utf-8")


@pytest.mark.parametrize("package", sorted({interface.package for interface in INTERFACES}))
def test_a_package_has_an_upper_bound(package: str) -> None:
    """A release that may change a private interface is not installed before somebody has looked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = [entry for entry in entries if re.split(r"[<>=\[ ]", entry)[0] == package]
    assert bounds
    assert all(re.search(r"<\d", entry) for entry in bounds), bounds
