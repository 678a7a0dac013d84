"""Parsing the output of wrk, and writing request bodies."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.load import Load, WrkFailed, parse, write_bodies

OUTPUT = """\
Running 2s test @ http://127.0.0.1:8000/image_recognition
  1 threads and 4 connections
RESULT {"requests": 300, "microseconds": 2000000, "p50": 4000, "p95": 6500, "p99": 9000, "refused": 20, "broken": 1}
"""


def test_the_output_of_wrk_is_parsed() -> None:
    """Times become milliseconds; refused answers do not count as throughput."""
    load = parse(OUTPUT)
    assert load == Load(300, 2.0, 4.0, 6.5, 9.0, 20, 1)
    assert load.per_second == 140


def test_the_throughput_is_zero_without_answers() -> None:
    """Every latency is then as long as the load."""
    load = parse(OUTPUT.replace("300", "0").replace('"refused": 20', '"refused": 0'))
    assert (load.per_second, load.p50, load.p99) == (0, 2000, 2000)


def test_wrk_without_a_result_fails() -> None:
    """The error contains the output of wrk."""
    with pytest.raises(WrkFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1")


def test_bodies_are_json_with_base64(tmp_path: Path) -> None:
    """Bytes are written as base64, other values unchanged."""
    (file,) = write_bodies(tmp_path / "new", [{"img": b"abc", "gradcam": False}])
    assert json.loads(file.read_text(encoding="utf-8")) == {"img": "YWJj", "gradcam": False}
