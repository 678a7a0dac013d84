"""The figures for Prometheus, read from a real server."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from src.progress import Stage
from tests.places import PACKAGED_PHOTOS
from tests.serving import Server

CAT = PACKAGED_PHOTOS[0].read_bytes()


def samples(client: httpx.Client) -> list[Sample]:
    """Return every figure that the server shows."""
    return [
        sample for family in text_string_to_metric_families(client.get("/metrics").text) for sample in family.samples
    ]


def figure(shown: Iterable[Sample], name: str, **labels: str) -> float:
    """Return one figure by its name, without the prefix that all have, and its labels; 0 if it is not there."""
    return sum(
        sample.value
        for sample in shown
        if sample.name == f"image_recognition_{name}" and labels.items() <= sample.labels.items()
    )


def recognize(client: httpx.Client, data: bytes = CAT, **options: str) -> httpx.Response:
    """Return the answer to an image file."""
    return client.post("/image_recognition_file", files={"img": data}, data=options)


def test_an_answer_is_counted_and_timed(client: httpx.Client) -> None:
    """One answer increments the counters of its route and status, of each stage, and of the decoded pixels."""
    before = samples(client)
    assert recognize(client).status_code == 200
    after = samples(client)

    def gained(name: str, **labels: str) -> float:
        return figure(after, name, **labels) - figure(before, name, **labels)

    assert gained("requests_total", route="/image_recognition_file", status="200") == 1
    assert gained("request_seconds_count", route="/image_recognition_file") == 1
    assert gained("request_seconds_sum", route="/image_recognition_file") > 0
    assert gained("queue_seconds_count") == 1
    assert {stage: gained("stage_seconds_count", stage=stage.value) for stage in Stage} == dict.fromkeys(Stage, 1)
    assert all(gained("stage_seconds_sum", stage=stage.value) > 0 for stage in Stage)
    assert gained("decoded_megapixels_count") == 1
    assert gained("decoded_megapixels_sum") == pytest.approx(451 * 300 / 1e6)


def test_a_refusal_is_counted_by_its_reason(client: httpx.Client) -> None:
    """A refused request, and a refused image of a batch, are counted under their error code."""
    before = samples(client)
    assert recognize(client, b"%PDF-1.7").status_code == 415
    answer = client.post("/image_recognition_batch", json={"imgs": ["JVBERi0xLjc="]})
    assert answer.json()["results"][0]["error"]["code"] == "unsupported_image"
    after = samples(client)
    assert figure(after, "rejected_total", reason="unsupported_image") == 2 + figure(
        before, "rejected_total", reason="unsupported_image"
    )


def test_the_state_is_shown(client: httpx.Client, server: Server) -> None:
    """The metrics include the queue, the work in progress, the limits and the model."""
    shown = samples(client)
    assert figure(shown, "queue_length") == 0
    assert figure(shown, "in_work") == 0
    assert figure(shown, "queue_limit") == 128
    assert figure(shown, "threads") >= 2
    assert figure(shown, "requests_in_flight") == 1  # this one
    model = httpx.get(f"{server.url}/model").json()
    names = ("model", "architecture", "runtime", "precision", "device")
    assert figure(shown, "model_info", **{name: model[name] for name in names}) == 1


def test_unknown_paths_do_not_create_series(client: httpx.Client) -> None:
    """The number of series stays the same, however many unknown paths are requested."""
    client.get("/nothing")
    before = len(samples(client))
    for index in range(50):
        client.get(f"/nothing/{index}")
        client.post(f"/image_recognition/{index}")
    shown = samples(client)
    assert len(shown) - before <= 1  # POST to no address may have a status of its own
    assert figure(shown, "requests_total", route="other", status="404") >= 51


def test_every_metric_has_the_prefix_and_a_description(client: httpx.Client) -> None:
    """All metrics have our prefix, or are those of the process, and have a description."""
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert all(family.name.startswith(("image_recognition_", "process_")) for family in families)
    assert all(family.documentation for family in families)
    assert max(Counter(family.name for family in families).values()) == 1


def test_metrics_are_not_stored_in_files(client: httpx.Client) -> None:
    """The metrics are in memory: a full disk cannot kill the worker."""
    assert recognize(client).status_code == 200
    assert not list(Path(os.environ["BENTOML_HOME"]).rglob("*.db"))
