"""What docker compose gives the service."""

import yaml

from tests.places import ROOT


def test_the_key_reaches_the_service() -> None:
    """A key in the environment of docker compose is passed on, as a variable without a value is."""
    described = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    environment = described["services"]["image-recognition"]["environment"]
    assert environment["IMAGE_RECOGNITION_API_KEY"] is None
