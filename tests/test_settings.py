"""The settings and their table in the README."""

import re

import pytest
from pydantic import ValidationError

from src.settings import Settings, read_settings
from tests.places import ROOT

ROW = re.compile(r"^\| `IMAGE_RECOGNITION_(\w+)` \| (.+?) \|", re.MULTILINE)


def test_the_readme_documents_every_setting_with_its_default() -> None:
    """The table in the README names each setting once, with the default that it has."""
    rows = dict(ROW.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    fields = Settings.model_fields
    assert list(rows) == [name.upper() for name in fields]
    for name, field in fields.items():
        if name == "threads":
            assert rows["THREADS"] == "twice the usable cores"
        else:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert rows[name.upper()] == f"`{default}`"
        assert field.description


def test_a_variable_changes_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is read from the environment under the prefix."""
    monkeypatch.setenv("IMAGE_RECOGNITION_THREADS", "3")
    monkeypatch.setenv("IMAGE_RECOGNITION_CORS_ORIGINS", '["https://example.org"]')
    settings = Settings()
    assert (settings.threads, settings.cors_origins) == (3, ("https://example.org",))


def test_settings_cannot_be_changed() -> None:
    """The settings are fixed once they are read."""
    with pytest.raises(ValidationError):
        Settings().threads = 1  # type: ignore[misc] # that is the point


@pytest.mark.parametrize(
    ("name", "value"), [("THREADS", "0"), ("TIMEOUT", "-1"), ("DEVICE", "tpu"), ("MAX_BATCH", "x")]
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value out of range is an error that names the setting."""
    monkeypatch.setenv(f"IMAGE_RECOGNITION_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_a_wrong_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence about a key that is too short does not repeat it, nor do the settings show one."""
    monkeypatch.setenv("IMAGE_RECOGNITION_API_KEY", "tooshort")
    with pytest.raises(SystemExit, match="API_KEY is wrong") as caught:
        read_settings()
    assert "tooshort" not in str(caught.value)
    monkeypatch.setenv("IMAGE_RECOGNITION_API_KEY", "correct-horse-battery-staple")
    assert "horse" not in repr(Settings())
