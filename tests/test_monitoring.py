"""The dashboard and the alert rules use metrics that the service has."""

import json
import re
import shutil
import subprocess
from typing import Any, Final

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.places import PACKAGED_PHOTOS, ROOT

DASHBOARD: Final = ROOT / "deploy" / "grafana" / "dashboard.json"
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yaml"
PROMTOOL: Final = shutil.which("promtool")
NAME: Final = re.compile(r"\b(?:image_recognition|process)_\w+")
SELECTOR: Final = re.compile(r"\b((?:image_recognition|process)_\w+)\{([^}]*)\}")


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


EXPRESSIONS: Final = {
    **{panel["title"]: " ".join(target["expr"] for target in panel["targets"]) for panel in panels()},
    **{rule["alert"]: rule["expr"] for rule in rules()},
}


@pytest.fixture(scope="module")
def shown(server: Any) -> dict[str, set[str]]:
    """The names that the labels of each figure have, by its name, on a server that has answered and refused."""
    httpx.post(f"{server.url}/image_recognition_file", files={"img": PACKAGED_PHOTOS[0].read_bytes()})
    httpx.get(f"{server.url}/nothing")
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_figure_that_is_asked_for_exists(shown: dict[str, set[str]], expression: str) -> None:
    """Each name in a panel or a rule stands on the real /metrics, with the labels by which it is chosen."""
    assert set(NAME.findall(expression)) <= set(shown)
    for name, chosen in SELECTOR.findall(expression):
        assert set(re.findall(r"(\w+)(?:=~|!=|=)", chosen)) <= shown[name] | {"instance"}


def test_every_figure_is_on_the_dashboard(shown: dict[str, set[str]]) -> None:
    """What the service counts of itself can be seen."""
    asked = set(NAME.findall(DASHBOARD.read_text(encoding="utf-8")))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown if name.startswith("image_recognition_")}
    assert families - {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} <= {
        "image_recognition_waiting_bytes_limit"
    }


def test_the_dashboard_is_whole() -> None:
    """Every panel has a title, a place beside the others, and numbers of its own."""
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in panels()]
    assert len({panel["id"] for panel in panels()}) == len(places)
    assert all(panel["title"] and panel["targets"] for panel in panels())
    for index, (x, y, width, height) in enumerate(places):
        assert x + width <= 24
        for x2, y2, width2, height2 in places[:index]:
            assert x >= x2 + width2 or x2 >= x + width or y >= y2 + height2 or y2 >= y + height


def test_every_rule_says_what_to_do() -> None:
    """Each rule has a time, a severity, a summary and a description."""
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")
def test_prometheus_understands_the_rules() -> None:
    """Prometheus' own tool finds the rules and no fault in them."""
    run = subprocess.run([str(PROMTOOL), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(rules())} rules found" in run.stdout


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")
def test_prometheus_understands_the_figures(client: httpx.Client) -> None:
    """Prometheus' own tool finds no fault in what /metrics shows."""
    figures = client.get("/metrics").text
    run = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=figures, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
