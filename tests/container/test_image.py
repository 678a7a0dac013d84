"""What is in the image, and what it says about itself."""

import json
import subprocess
from typing import Any, Final

import bentoml
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from tests.container.engine import BASE
from tests.container.images import Image
from tests.places import ROOT, VERSION

pytestmark = pytest.mark.container

MEGABYTE: Final = 1_000_000


@pytest.fixture(scope="module")
def bill(image: Image) -> dict[str, Any]:
    """The list in the image of what is in it."""
    listed: dict[str, Any] = json.loads(image.run("cat", "sbom.cdx.json"))
    return listed


def test_it_holds_exactly_the_pinned_packages(image: Image) -> None:
    """The environment has exactly what requirements.txt pins for this Python on Linux: no tests, no training."""
    lines = (line.rstrip(" \\") for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    pinned = [Requirement(line) for line in lines if not line.startswith(" ")]
    environment = {"python_version": "3.11", "python_full_version": "3.11.2", "sys_platform": "linux"}
    wanted = {one for one in pinned if one.marker is None or one.marker.evaluate(environment)}
    assert image.packages() == {f"{one.name}{one.specifier}" for one in wanted}


def test_it_has_no_torch_no_compiler_and_no_test(image: Image) -> None:
    """Serving on a CPU needs neither torch with CUDA's libraries nor what builds packages."""
    heavy = {"torch", "torchvision", "triton", "pytorch-lightning", "pytest", "openvino-telemetry"}
    assert not heavy & {package.partition("==")[0] for package in image.packages()}
    found = image.run("sh", "-c", "command -v gcc cc g++ make git; find /home -name 'test_*.py'; true")
    assert not found


def test_it_is_small(image: Image) -> None:
    """All that comes on top of the base image is below 650 MB, most of it packages; the command shows it by layer."""
    base = json.loads(image.engine.docker("inspect", "--format", "{{json .Size}}", BASE))
    assert image.inspect(".Size") - base < 650 * MEGABYTE
    shown = subprocess.run(
        ["make", "image-layers", f"IMAGE={image.name}"],
        cwd=ROOT,
        env=image.engine.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "uv --directory" in shown
    assert "site-packages/openvino" in shown


def test_its_labels_say_where_it_comes_from(image: Image, stored_model: str) -> None:
    """Version, commit, license and model are on the image."""
    labels = image.inspect(".Config.Labels")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    of_image = {
        name.rpartition(".")[2]: value for name, value in labels.items() if name.startswith("org.opencontainers")
    }
    assert of_image.pop("revision").removesuffix("-dirty") == head.strip()
    assert of_image.pop("created").startswith("20")
    assert of_image == {"title": "image-recognition", "version": VERSION, "licenses": "Apache-2.0"}
    assert labels["image-recognition.model"] == str(bentoml.models.get(stored_model).tag)


def test_its_bill_of_materials_is_whole(image: Image, bill: dict[str, Any]) -> None:
    """The CycloneDX list fits its schema and names every Python package, with its license, and every Debian package."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    of_python = [one for one in bill["components"] if one["purl"].startswith("pkg:pypi/")]
    assert image.packages() <= {f"{one['name']}=={one['version']}" for one in of_python}
    assert {"uv", "pip"} <= {one["name"] for one in of_python}
    assert all("licenses" in one for one in of_python), [one["name"] for one in of_python if "licenses" not in one]
    of_debian = {one["name"] for one in bill["components"] if one["purl"].startswith("pkg:deb/")}
    assert of_debian == set(image.run("dpkg-query", "--show", "--showformat", "${Package}\n").splitlines())


def test_it_sends_no_telemetry(image: Image) -> None:
    """BentoML's telemetry is switched off in the image, and OpenVINO's is not installed."""
    assert "BENTOML_DO_NOT_TRACK=True" in image.inspect(".Config.Env")
    assert not [package for package in image.packages() if "telemetry" in package and "opentelemetry" not in package]
