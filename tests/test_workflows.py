"""What a hosting service does with the repository, checked without it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner

from tests.places import ROOT, VERSION

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": [GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml" for name in ("bug", "checkpoint", "idea")],
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
}


def jobs(workflow: Path) -> Iterator[dict[str, Any]]:
    """Give each job of a workflow."""
    yield from yaml.safe_load(workflow.read_text("utf-8"))["jobs"].values()


def steps() -> Iterator[dict[str, Any]]:
    """Give each step of each job of each workflow."""
    for workflow in WORKFLOWS:
        for job in jobs(workflow):
            yield from job["steps"]


def job_of_ci(name: str) -> dict[str, Any]:
    """Return a job of the workflow that checks every change."""
    job: dict[str, Any] = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text("utf-8"))["jobs"][name]
    return job


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_is_valid_by_its_schema(schema: str) -> None:
    """Each file of .github has the keys and values that GitHub knows."""
    checked = CliRunner().invoke(check_jsonschema, ["--builtin-schema", schema, *map(str, SCHEMAS[schema])])
    assert checked.exit_code == 0, checked.output


def test_every_file_has_a_schema() -> None:
    """No YAML file of .github is left unchecked."""
    assert {path for paths in SCHEMAS.values() for path in paths} == set(GITHUB.rglob("*.yml"))


def test_workflows_run_the_commands_that_people_run() -> None:
    """Each make target of a workflow, of .ci/run and of the guides for contributors exists."""
    pages = [ROOT / ".ci" / "run", ROOT / "CONTRIBUTING.md", GITHUB / "pull_request_template.md", *WORKFLOWS]
    for page in pages:
        named = set(re.findall(r"(?:run: |^|`|&& )make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert named <= TARGETS, page
    nightly = next(jobs(GITHUB / "workflows" / "nightly.yml"))["strategy"]["matrix"]["target"]
    assert set(nightly) <= TARGETS


def test_the_changelog_begins_with_this_version() -> None:
    """What release.yml looks for is there: a section of this version, with its date, and something in it."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8").replace("## Unreleased\n", "")
    sections = re.findall(r"^## (\S+) - \d{4}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    version, notes = sections[0]
    assert version == VERSION
    assert len(notes.strip().splitlines()) > 2


def test_every_python_that_is_supported_is_tested() -> None:
    """The matrix begins with the oldest Python that pyproject.toml allows; the linter and the types assume that one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    matrix = job_of_ci("test")["strategy"]["matrix"]["python"]
    assert project["project"]["requires-python"] == f">={matrix[0]}"
    assert project["tool"]["mypy"]["python_version"] == matrix[0]
    assert matrix == [f"3.{minor}" for minor in range(11, 15)]


def test_actions_are_pinned_to_commits() -> None:
    """Nobody can change what an action does by moving a tag, and no step keeps the token of the checkout."""
    used = [step for step in steps() if "uses" in step]
    assert len(used) > 5
    for step in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert "checkout" not in step["uses"] or step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_ends(workflow: Path) -> None:
    """A workflow can read the repository and nothing else, unless a job says so, and every job has a time limit."""
    assert yaml.safe_load(workflow.read_text("utf-8"))["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in jobs(workflow))


def test_hooks_are_the_tools_of_the_environment() -> None:
    """Each hook runs what 'make check' runs, so that no version is pinned twice."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for hook in hooks:
        command = hook["entry"].removesuffix(" --force-exclude").replace(".venv/bin/", "$(BIN)/")
        assert f"\t{command}" in makefile
