"""deploy/kubernetes: what a cluster would say to it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from tests.places import ROOT, VERSION

KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
BASE: Final = KUBERNETES / "base"
KUBERNETES_VERSION: Final = "1.33"
OBJECTS: Final = sorted(set(BASE.glob("*.yaml")) - {BASE / "kustomization.yaml"})
NAME: Final = {"app.kubernetes.io/name": "image-recognition"}


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """Return the objects that kustomize makes of ``folder``."""
    made = subprocess.run(["kubectl", "kustomize", str(folder)], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(made))


def validate(described: dict[str, Any]) -> None:
    """Check an object by the schema that Kubernetes publishes; unknown fields are mistakes too."""
    kubernetes_validate.validate(described, KUBERNETES_VERSION, strict=True)


@pytest.fixture(scope="module")
def base() -> dict[str, dict[str, Any]]:
    """The objects of the base, by kind."""
    objects = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in OBJECTS]
    return {described["kind"]: described for described in objects}


@pytest.mark.parametrize("file", OBJECTS, ids=lambda file: file.stem)
def test_every_object_fits_the_published_schema(file: Path) -> None:
    """Each file holds one object that Kubernetes takes."""
    validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_a_mistake_would_be_found(base: dict[str, dict[str, Any]]) -> None:
    """A misspelt field does not pass."""
    wrong = {**base["Service"], "spec": {**base["Service"]["spec"], "selektor": NAME}}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(wrong)


def test_the_base_holds_what_it_needs(base: dict[str, dict[str, Any]]) -> None:
    """The base lists all its files, and they belong together by one label."""
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == [file.name for file in OBJECTS]
    assert set(base) == {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    assert base["Deployment"]["spec"]["selector"]["matchLabels"] == NAME
    assert base["Deployment"]["spec"]["template"]["metadata"]["labels"] == NAME
    assert base["Service"]["spec"]["selector"] == NAME
    assert base["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == NAME
    assert base["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == NAME


def test_the_pod_is_as_hardened_as_pods_can_be(base: dict[str, dict[str, Any]]) -> None:
    """The pod fulfils what the restricted Pod Security Standard asks for, and may write to /tmp alone."""
    pod = base["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]  # noqa: S108 - the container's own
    assert {"cpu", "memory"} == set(container["resources"]["requests"]) == set(container["resources"]["limits"])
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert container["ports"] == [{"name": "http", "containerPort": 8000}]


def test_the_image_is_that_of_this_version() -> None:
    """Both kustomizations name the image that 'make container' tags."""
    for folder, tag in ((BASE, VERSION), (KUBERNETES / "overlays" / "gpu", f"{VERSION}-torch")):
        (image,) = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["images"]
        assert image["newTag"] == tag


def test_it_grows_with_the_load(base: dict[str, dict[str, Any]]) -> None:
    """The autoscaler looks at the processor time and at the requests in flight."""
    metrics = base["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Resource", "Pods"]
    assert metrics[0]["resource"]["name"] == "cpu"
    assert metrics[1]["pods"]["metric"]["name"] == "image_recognition_requests_in_flight"


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["base", "overlays/gpu"])
def test_kustomize_makes_objects_that_fit(folder: str) -> None:
    """What kustomize makes of the base, and of the overlay for GPU nodes, fits the schema."""
    made = kustomize(KUBERNETES / folder)
    assert len(made) == len(OBJECTS)
    for described in made:
        validate(described)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_overlay_runs_on_a_gpu() -> None:
    """The overlay takes the image with torch, asks for a GPU, and does not start without it."""
    (deployment,) = (
        described for described in kustomize(KUBERNETES / "overlays/gpu") if described["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith("-torch")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "IMAGE_RECOGNITION_DEVICE", "value": "cuda"} in container["env"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
