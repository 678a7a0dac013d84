"""The settings and their table in the documentation."""

import json
import re

import pytest
from pydantic import ValidationError

from src.settings import Settings, read_settings
from tests.places import ROOT

ROW = re.compile(r"^\| `IMAGE_RECOGNITION_(\w+)` \| (.+?) \|", re.MULTILINE)


def test_the_readme_documents_every_setting_with_its_default() -> None:
    """The table in the reference names each setting once, with the default that it has."""
    rows = dict(ROW.findall((ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")))
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


@pytest.mark.parametrize(("old", "new"), [("MAX_SIDE", "MAX_INPUT_SIDE"), ("MAX_RETURNED_SIDE", "MAX_OUTPUT_SIDE")])
def test_a_renamed_limit_is_never_silently_lifted(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """A limit that is set under its former name ends the start with the name that it has now."""
    monkeypatch.setenv(f"IMAGE_RECOGNITION_{old}", "100")
    with pytest.raises(SystemExit, match=f"IMAGE_RECOGNITION_{old} is now called IMAGE_RECOGNITION_{new}"):
        read_settings()


def test_input_and_output_sides_are_separate_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting limits the image that is sent, another the image that is returned."""
    monkeypatch.setenv("IMAGE_RECOGNITION_MAX_INPUT_SIDE", "100")
    monkeypatch.setenv("IMAGE_RECOGNITION_MAX_OUTPUT_SIDE", "50")
    settings = Settings()
    assert (settings.max_input_side, settings.max_output_side) == (100, 50)


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


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("API_KEY", "open-sesame", "too short"),
        ("API_KEY", "schlüssel-mit-umlaut", "ASCII"),
        ("API_KEY", "a key with spaces in it", "ASCII"),
        ("MODEL", "not a tag", "name:version"),
        ("CORS_ORIGINS", "https://example.org", "JSON"),
        ("CORS_ORIGINS", '["https://example.org/"]', "('https://example.org/' is not an origin"),
        ("THREADS", "many", "integer"),
    ],
)
def test_a_wrong_setting_is_explained_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """It names the variable, the fault and what belongs there, but never repeats the value of a key."""
    monkeypatch.setenv(f"IMAGE_RECOGNITION_{name}", value)
    with pytest.raises(SystemExit) as caught:
        read_settings()
    sentence = str(caught.value)
    assert sentence.startswith(f"IMAGE_RECOGNITION_{name} is wrong (")
    assert said in sentence
    assert str(Settings.model_fields[name.lower()].description) in sentence
    assert name != "API_KEY" or value not in sentence


ORIGINS = ("https://a.example", "http://localhost:8080", "http://[::1]:8080", "capacitor://localhost", "null", "*")


def test_origins_that_browsers_send_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Origins have a scheme, a host and perhaps a port; null and * are special."""
    monkeypatch.setenv("IMAGE_RECOGNITION_CORS_ORIGINS", json.dumps(ORIGINS))
    assert read_settings().cors_origins == ORIGINS


@pytest.mark.parametrize(
    "origin",
    [
        *("https://a.example/", "https://a.example/app", "https://A.example", "https://b\u00fccher.example"),
        *("https://a.example,https://b.example", "https://", "a.example", "localhost:8080", ""),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    """A path, an upper-case letter or a missing scheme would match no request: the start says so."""
    monkeypatch.setenv("IMAGE_RECOGNITION_CORS_ORIGINS", json.dumps([ORIGINS[0], origin]))
    with pytest.raises(SystemExit, match="is not an origin"):
        read_settings()


def test_a_misspelled_setting_is_reported_but_variables_of_kubernetes_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """IMAGE_RECOGNITION_THREAD is reported with the name that was probably meant."""
    monkeypatch.setenv("IMAGE_RECOGNITION_THREAD", "3")
    monkeypatch.setenv("IMAGE_RECOGNITION_PORT", "tcp://10.0.0.1:8000")
    monkeypatch.setenv("IMAGE_RECOGNITION_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("IMAGE_RECOGNITION_PORT_8000_TCP_PROTO", "tcp")
    read_settings()
    assert [record.getMessage() for record in caplog.records] == [
        "IMAGE_RECOGNITION_THREAD is not a setting: did you mean IMAGE_RECOGNITION_THREADS?"
    ]
