"""Test workers that die, on a cluster of two nodes."""

import json
import logging
import os
import signal
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from src.archive.assignment import Assignment, Crew
from src.archive.crew import finish
from src.archive.duplicates import Claims
from src.archive.figures import Figures
from src.archive.job import _cluster
from src.archive.output import Output, Part
from src.archive.rows import Answer, table
from src.archive.sources import Source
from src.settings import Settings
from tests.archive.test_output import RUN

pytestmark = [
    pytest.mark.bulk,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


class Mortal:
    """A worker that skips recognition and dies at the source named ``deadly``."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def __call__(self, row: Mapping[str, str]) -> dict[str, str]:
        """Write a part as a worker does."""
        sources = [Source(**source) for source in json.loads(row["sources"])]
        if any(source.name == "deadly" for source in sources):
            os._exit(1)
        answers = [Answer(source.name, "", "another", 0.0) for source in sources]

        def tables() -> Generator[pa.Table, None, Figures]:
            yield table(answers, "m")
            return Figures.of(answers)

        part = Part(sources=(), figures=Figures())
        if sources:
            part = Output(self._assignment.output).write(tables(), sources, self._assignment.run.token)
        return {"part": part.model_dump_json(), "fault": ""}


def test_an_image_that_kills_every_worker_becomes_an_error(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """All other images are processed, although their workers die several times."""
    # Tracebacks that pytest keeps would hold the workers of a round, and with them the cores that the next one needs.
    caplog.set_level(logging.CRITICAL, "ray.data")
    monkeypatch.setattr("src.archive.crew.Worker", Mortal)
    output = Output(str(tmp_path))
    output.begin(RUN)
    sources = [Source(name) for name in [*map(str, range(100)), "deadly", *map(str, range(100, 200))]]
    ray.init(address=cluster.address, log_to_driver=False)
    ray.data.DataContext.get_current().max_errored_blocks = -1
    try:
        list(finish(sources, Assignment(RUN, str(tmp_path), Settings(), None, Crew(2, 1, 0), None), output))
    finally:
        ray.shutdown()
    rows = [row for part in tmp_path.glob("part-*") for row in pq.read_table(part).to_pylist()]
    assert sorted(row["path"] for row in rows) == sorted(source.name for source in sources)
    assert [(row["path"], row["error_code"]) for row in rows if row["error_code"]] == [("deadly", "internal")]


def test_sigterm_stops_a_run_like_ctrl_c(cluster: Any, tmp_path: Path) -> None:
    """Ray would print a stack and abort; schedulers and ``timeout`` send it."""
    own = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt), _cluster(cluster.address, tmp_path):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, own)
    assert not ray.is_initialized()


def test_the_register_of_duplicates_is_on_the_node_of_the_command(cluster: Any) -> None:
    """Ray would put it on a node at random, and a run that deduplicates would end when that one dies."""
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        registers = [Claims([])._register for _ in range(6)]
        nodes = [one.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()) for one in registers]
        assert set(ray.get(nodes)) == {ray.get_runtime_context().get_node_id()}
    finally:
        ray.shutdown()
