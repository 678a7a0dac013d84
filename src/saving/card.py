"""Describe a stored model, its check and the faithfulness of its explanations in a Markdown card."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from src.store.bundle import Bundle
from src.store.files import WEIGHTS

__all__ = ["card"]

_MAX_CLASSES: Final = 50  # more would make the card unreadable


def card(bundle: Bundle) -> str:
    """Return the card of a model in the format of the Hugging Face hub: YAML with its model-index, then sections.

    It names no file: the images of the check appear only with their number and digest.
    """
    header = yaml.safe_dump(_header(bundle), sort_keys=False, allow_unicode=True)
    sections = (_model(bundle), _input(bundle), _learned(bundle), _check(bundle.check), _faithfulness(bundle.check))
    return "\n\n".join((f"---\n{header}---", f"# {bundle.tag}", *(one for one in sections if one)))


def _header(bundle: Bundle) -> dict[str, Any]:
    name = bundle.tag.partition(":")[0]
    tags = ["image-classification", "grad-cam", bundle.manifest.runtime]
    header: dict[str, Any] = {"library_name": "bentoml", "pipeline_tag": "image-classification", "tags": tags}
    if not bundle.check:
        return header
    digest = bundle.check.get("digest")
    dataset = {"name": f"{_images(bundle.check)} labeled images", "type": f"sha256-{digest}" if digest else "private"}
    metrics = [{"type": "accuracy", "name": "Accuracy", "value": bundle.check["accuracy"]}]
    task = {"type": "image-classification", "name": "Image classification"}
    result = {"task": task, "dataset": dataset, "metrics": metrics}
    return header | {"model-index": [{"name": name, "results": [result]}]}


def _model(bundle: Bundle) -> str:
    manifest = bundle.manifest
    shown = ", ".join(manifest.labels[:_MAX_CLASSES]) + (", ..." if len(manifest.labels) > _MAX_CLASSES else "")
    exact = "; exact: the map and the bias sum to the logit" if manifest.exact else ""
    facts = {
        "Tag": f"`{bundle.tag}`",
        "Architecture": f"`{manifest.architecture}`",
        "Classes": f"{len(manifest.labels)}: {shown}",
        "Grad-CAM layer": f"`{manifest.layer}`{exact}",
        "Runtime on a CPU": manifest.runtime,
        "Weights": f"SHA-256 `{manifest.sha256[WEIGHTS]}`",
    }
    return _section("Model", facts)


def _input(bundle: Bundle) -> str:
    fields = bundle.manifest.input.model_dump(mode="json") | {"output": bundle.manifest.output.kind}
    return _section("Input and output", {name.capitalize(): f"`{value}`" for name, value in fields.items()})


def _learned(bundle: Bundle) -> str:
    """Describe the calibration, as far as the model has one."""
    learned = bundle.manifest.model_dump(mode="json")["learned"]
    if not learned:
        return "## Calibration\n\nNot calibrated: the percentages are the network's own."
    bins = (learned.get("calibration") or {}).get("reliability") or []
    rows = ([f"{one['said']:.1%}", f"{one['right']:.1%}"] for one in bins)
    reliability = "\n\n" + _table(["confidence", "accuracy"], rows) if bins else ""
    return _section("Calibration", dict(_flat(learned))) + reliability


def _flat(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        words = f"{before}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{words}: ")
        elif value is not None and not isinstance(value, list):
            yield words.capitalize(), f"{value:.4g}" if isinstance(value, float) else str(value)


def _check(check: Mapping[str, Any]) -> str:
    if not check:
        return "## Check\n\nNot checked on labeled images."
    columns = {name: check[name] for name in ("recall", "precision", "average_precision") if check.get(name)}
    digest = f", SHA-256 `{check['digest']}`" if check.get("digest") else ""
    used = f" It was trained on {trained} of these images." if (trained := check.get("trained_on")) else ""
    parts = [f"## Check\n\n{_images(check)} labeled images{digest}: accuracy {check['accuracy']:.2%}.{used}"]
    if len(check["recall"]) <= _MAX_CLASSES:
        head = ["class", *(name.replace("_", " ") for name in columns)]
        rows = ([label, *(_share(one.get(label)) for one in columns.values())] for label in check["recall"])
        parts.append(_table(head, rows))
    if confusion := check.get("confusion"):
        head = ["true \\ predicted", *confusion["classes"], "other"]
        counted = zip(confusion["classes"], confusion["counts"], strict=True)
        parts.append(_table(head, ([label, *map(str, counts)] for label, counts in counted)))
    return "\n\n".join(parts)


def _share(value: float | None) -> str:
    """Format a share; a class that was recognized in no image has no precision."""
    return "-" if value is None else f"{value:.2%}"


def _faithfulness(check: Mapping[str, Any]) -> str:
    found = check.get("faithfulness")
    if not found:
        return ""
    names = list(next(iter(found["methods"].values())))
    rows = ([f"`{method}`", *(f"{one[name]:.3f}" for name in names)] for method, one in found["methods"].items())
    words = (
        f"Measured on {found['images']} images, in {found['steps']} steps; `{found['best']}` has the best mean rank."
    )
    return "\n\n".join(("## Explanations", words, _table(["method", *names], rows)))


def _images(check: Mapping[str, Any]) -> int:
    count: int = check.get("images", check.get("pictures"))  # the field's earlier name
    return count


def _section(title: str, facts: Mapping[str, str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
