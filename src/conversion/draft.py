"""Turn a trained network into a verified model in a folder, ready for the store."""

import gc
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.export import ExportedProgram

from src.checkpoints.checkpoint import Checkpoint
from src.conversion.batch import best_batch
from src.conversion.capture import capture, export_batches, random_images
from src.conversion.convert import convert, save_programs
from src.conversion.cut import Cut, cut
from src.conversion.derive import derive
from src.conversion.gradient import gradient_graph
from src.conversion.probabilities import find_scores
from src.conversion.verify import Agreement, Answer, Verification, answers, compare, verify
from src.errors import ModelError
from src.runtimes.select import start
from src.stages.confidence import Familiarity
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec
from src.store.files import (
    CLOSED_FORM,
    FAMILIARITY,
    GRADIENT,
    GRADIENT_PROGRAM,
    MANIFEST,
    NETWORK,
    NETWORK_PROGRAM,
    sha256,
)
from src.store.manifest import SCHEMA_VERSION, Manifest

__all__ = ["Draft", "draft"]

logger = logging.getLogger(__name__)  # reports the steps, each of which may take seconds


@dataclass(frozen=True, slots=True)
class Draft:
    """A verified model that was written to ``folder`` and read back from it, but is not in the store yet.

    ``agreement`` compares the runtime that will serve it on a CPU with torch. ``made`` is the operation that turned its
    scores into probabilities and was cut off, if any.
    """

    folder: Path
    manifest: Manifest
    verification: Verification
    agreement: Agreement
    made: str | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the files that the store will hold."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def with_output(self, output: OutputSpec) -> "Draft":
        """Return the model with another meaning of its outputs, which is also written to its folder."""
        return self._with(output=output)

    def with_bf16(self, *, harmless: bool) -> "Draft":
        """Return the model with the result of a check of bf16, which is also written to its folder."""
        return self._with(bf16=harmless)

    def with_learned(self, output: OutputSpec, learned: Learned, familiarity: Familiarity | None) -> "Draft":
        """Return the model with its calibration and familiarity, which are also written to its folder."""
        file = self.folder / FAMILIARITY
        file.unlink(missing_ok=True)
        sums = {name: digest for name, digest in self.manifest.sha256.items() if name != FAMILIARITY}
        if familiarity is not None:
            familiarity.save(file)
            sums[FAMILIARITY] = sha256(file)
        return self._with(output=output, learned=learned, sha256=sums)

    def _with(self, **changed: object) -> "Draft":
        manifest = self.manifest.model_copy(update=changed)
        _write_manifest(manifest, self.folder)
        return replace(self, manifest=manifest)

    def figures(self) -> dict[str, float]:
        """Return the measured differences, for the model store."""
        return {
            "max_logit_difference_captured": self.verification.captured,
            "max_logit_difference_cut": self.verification.cut,
            "max_probability_difference_stored": self.agreement.probability,
            "max_heatmap_difference_stored": self.agreement.heat,
        }


@contextmanager
def draft(checkpoint: Checkpoint) -> Iterator[Draft]:
    """Verify the network of ``checkpoint`` and write it to a temporary folder.

    Raises:
        ModelError: The weights do not fit, or the network cannot be captured or explained.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest, verification, expected, made = _write(checkpoint, folder)
        del checkpoint  # its weights take as much memory as the network,
        gc.collect()  # and graphs with reference cycles hold them
        manifest, agreement = _proved(manifest, expected, folder)
        _write_manifest(manifest, folder)
        yield Draft(folder, manifest, verification, agreement, made)


def _write_manifest(manifest: Manifest, folder: Path) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def _write(checkpoint: Checkpoint, folder: Path) -> tuple[Manifest, Verification, tuple[Answer, ...], str | None]:
    """Write the network's graphs; return manifest, verification, expected answers and the operation cut off."""
    spec = checkpoint.input
    logger.info("Capturing the network as a graph ...")
    scores = find_scores(capture(checkpoint.network, spec), spec)
    parts = cut(scores.graph, spec, checkpoint.layer)
    verification = verify(checkpoint.network, parts, spec, scores.finish)
    logger.info("Deriving the gradient of its head and converting both ...")
    network, gradient = _programs(parts, checkpoint, folder)
    note = ""
    try:
        convert(network, folder / NETWORK, spec)
        convert(gradient, folder / GRADIENT)
    except ModelError as exc:
        note = str(exc)
    save_programs({NETWORK_PROGRAM: network, GRADIENT_PROGRAM: gradient}, folder)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        architecture=checkpoint.architecture,
        labels=checkpoint.labels,
        input=spec,
        output=scores.output(checkpoint.output),
        layer=parts.layer,
        features=parts.layout,
        runtime="torch" if note else "openvino",
        head="closed_form" if (folder / CLOSED_FORM).exists() else "gradient",
        note=note,
        torch=torch.__version__,
        sha256={},
    )
    logger.info("Comparing the written files with the network ...")
    return manifest, verification, answers(parts, spec), scores.made


def _programs(parts: Cut, checkpoint: Checkpoint, folder: Path) -> tuple[ExportedProgram, ExportedProgram]:
    """Export the network and its head's gradient; write the head's closed form if it has one."""
    images = random_images(checkpoint.input)
    with torch.no_grad():
        features = parts.network()(images)[0].contiguous()
    derived = derive(parts, features)
    if derived is not None:
        derived.form.save(folder / CLOSED_FORM)
    classes = len(checkpoint.labels)
    network = export_batches(parts.network(derived.hidden if derived else ()), images)
    gradient = gradient_graph(parts.head, features, classes)
    return network, export_batches(gradient, features, torch.zeros(len(features), classes))


def _proved(manifest: Manifest, expected: tuple[Answer, ...], folder: Path) -> tuple[Manifest, Agreement]:
    """Read the written model back, run it in each runtime, and return the manifest with the one that serves it."""
    agreement = compare(start(folder, manifest, threads=1, device="cpu", runtime="torch"), expected, manifest)
    if manifest.runtime == "openvino":
        gc.collect()
        try:
            running = start(folder, manifest, threads=1, device="cpu")
            agreement = compare(running, expected, manifest)
            batch = best_batch(folder, manifest.input, running.graphs)
            manifest = manifest.model_copy(update={"batch": batch})
        except ModelError as exc:
            manifest = manifest.model_copy(update={"runtime": "torch", "note": str(exc)})
    if manifest.runtime == "torch":
        for graph in (NETWORK, GRADIENT):
            for file in (folder / graph, (folder / graph).with_suffix(".bin")):
                file.unlink(missing_ok=True)
    sums = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    return manifest.model_copy(update={"sha256": sums, "exact": agreement.complete}), agreement
