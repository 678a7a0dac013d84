#!/usr/bin/env python
"""Write the CycloneDX bill of materials of the Docker image, from within its build, after all packages."""

import json
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

_LIST: Final = Path("sbom.cdx.json")  # in the bento's folder
_NAME_LENGTH: Final = 80  # some packages have the full license text instead of its name


def main() -> None:
    """Write the bill of materials."""
    components = {component["bom-ref"]: component for component in (_interpreter(), *_python_packages(), *_debian())}
    _LIST.write_text(
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "serialNumber": f"urn:uuid:{uuid.uuid4()}",
                "version": 1,
                "metadata": {"component": {"type": "container", "bom-ref": "image", "name": "image-recognition"}},
                "components": sorted(components.values(), key=lambda component: component["bom-ref"]),
            },
            indent=1,
        ),
        encoding="utf-8",
    )


def _interpreter() -> dict[str, Any]:
    return _component(
        "platform", "python", platform.python_version(), f"pkg:generic/python@{platform.python_version()}"
    )


def _python_packages() -> Iterator[dict[str, Any]]:
    """List the packages of this environment and of its base Python."""
    of_base = Path(sys.base_prefix).glob("**/lib/python3*/*-packages")
    for package in distributions(path=[*sys.path, *map(str, of_base)]):
        name = package.name.lower().replace("_", "-")
        component = _component("library", name, package.version, f"pkg:pypi/{name}@{package.version}")
        yield component | _licenses(package)


def _licenses(package: Distribution) -> dict[str, Any]:
    metadata = package.metadata
    if "License-Expression" in metadata:
        return {"licenses": [{"expression": metadata["License-Expression"]}]}
    named = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    if not named and "License" in metadata and len(metadata["License"]) < _NAME_LENGTH:
        named = [metadata["License"]]
    return {"licenses": [{"license": {"name": name}} for name in named]} if named else {}


def _debian() -> Iterator[dict[str, Any]]:
    if not shutil.which("dpkg-query"):
        return
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"]
    listed = subprocess.run(query, check=True, capture_output=True, text=True).stdout  # noqa: S603 - fixed words
    release = platform.freedesktop_os_release()
    for line in listed.splitlines():
        name, version, architecture = line.split()
        distribution = f"{release['ID']}-{release.get('VERSION_ID', 'unstable')}"
        purl = f"pkg:deb/{release['ID']}/{name}@{version}?arch={architecture}&distro={distribution}"
        yield _component("library", name, version, purl.replace("+", "%2B"))


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main()
