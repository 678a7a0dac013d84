"""The settings of the service, each from an environment variable ``IMAGE_RECOGNITION_<NAME>``."""

import difflib
import logging
import os
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from src.cores import usable_cores

__all__ = ["Settings", "read_settings"]

logger = logging.getLogger(__name__)

_PREFIX: Final = "IMAGE_RECOGNITION_"
_TAG: Final = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[a-z0-9]([a-z0-9._-]*[a-z0-9])?)?$"

_REASONS: Final = {
    "string_pattern_mismatch": "it is not a tag like name:version, in lowercase",
    "too_short": "it is too short",
}
_IN_FIELD: Final = re.compile(r'field "(\w+)"')
_RENAMED: Final = {"MAX_SIDE": "MAX_INPUT_SIDE", "MAX_RETURNED_SIDE": "MAX_OUTPUT_SIDE"}
_ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+")
_ALIKE: Final = 0.9  # of 1: how similar two names must be for one to be a misspelling of the other


def _sendable(key: SecretStr) -> SecretStr:
    """Check that a header can carry ``key``."""
    if not re.fullmatch(r"[!-~]*", key.get_secret_value()):
        raise ValueError("it has characters other than ASCII letters, digits and punctuation")
    return key


def _sent_by_browsers(origin: str) -> str:
    """Check that browsers can send ``origin``: another spelling would match no request, without a word."""
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{origin!r} is not an origin, which is scheme://host:port in lower case, without a path")
    return origin


class Settings(BaseSettings):
    """Configuration of the service, read once from the environment."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, protected_namespaces=())

    model: str = Field(
        default="image_recognition:latest", pattern=_TAG, description="Tag of the model in the BentoML model store."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the network runs; auto: a CUDA GPU if there is one, else the CPU."
    )
    runtime: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        description="What runs the network; auto: OpenVINO on a CPU if it was converted, else torch.",
    )
    precision: Literal["fp32", "bf16", "auto"] = Field(
        default="fp32",
        description="fp32 matches PyTorch; bf16 is faster on CPUs that support it; auto: bf16 if"
        " save_model.py --check found it harmless.",
    )
    resize: Literal["fast", "exact"] = Field(
        default="fast",
        description="How images of more than a megapixel are resized for the network: fast differs from torchvision by"
        " at most 2 of 256 levels; exact does not differ.",
    )
    network_batch: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Maximum images per batch of the network; twice as many more may wait for it, decoded. 1: no"
        " batching; default: 8 if that was faster when the model was stored, else 1.",
    )
    network_batch_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Milliseconds that a batch with room waits for more images while all threads are busy.",
    )
    threads: int = Field(
        default_factory=lambda: 2 * usable_cores(),
        ge=1,
        description="Images processed concurrently; default: two per usable core.",
    )
    max_queue: int = Field(
        default=128, ge=0, description="Images that may wait for a thread; a request beyond that is answered 429."
    )
    timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds from the head of a request to its 504; also to send a head or read an answer.",
    )
    max_waiting_bytes: int = Field(
        default=512_000_000,
        ge=1,
        description="Bytes of all request bodies in memory; a request beyond that is answered 429.",
    )
    max_body_bytes: int = Field(
        default=20_000_000, ge=1, description="Bytes of a request body; a longer one is answered 413."
    )
    max_batch_bytes: int = Field(default=64_000_000, ge=1, description="Bytes of the body of a batch request.")
    max_batch: int = Field(default=64, ge=1, description="Images in a batch request.")
    max_pixels: int = Field(default=64_000_000, ge=1, description="Pixels of an image, checked before decoding.")
    max_input_side: int = Field(default=20_000, ge=1, description="Pixels of the longer side of a sent image.")
    max_output_side: int = Field(
        default=4_096,
        ge=1,
        le=16_383,
        description="Pixels of the longer side of a returned image, whatever the request's max_side says.",
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_sent_by_browsers)], ...] = Field(
        default=(), description='Origins that browsers may call from, as a JSON list such as ["https://example.org"].'
    )
    api_key: Annotated[SecretStr, Field(min_length=16), AfterValidator(_sendable)] | None = Field(
        default=None,
        description="Key that requests must send as 'Authorization: Bearer <key>'; at least 16 characters.",
    )
    open_probes: bool = Field(default=True, description="Whether /livez, /readyz and /healthz need no key.")
    open_metrics: bool = Field(default=True, description="Whether /metrics needs no key.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="json writes every line of the log as one JSON object."
    )


def read_settings() -> Settings:
    """Read the settings from the environment; exit with one sentence if one of them is wrong."""
    _refuse_renamed()
    _warn_of_misspelled()
    try:
        return Settings()
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        reason = _REASONS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        raise SystemExit(_sentence(str(fault["loc"][0]), reason)) from None
    except SettingsError as exc:
        found = _IN_FIELD.search(str(exc))
        raise SystemExit(_sentence(found[1], "it is not JSON") if found else f"A setting is wrong: {exc}.") from None


def _sentence(name: str, what: str) -> str:
    meaning = Settings.model_fields[name].description
    return f"{_PREFIX}{name.upper()} is wrong ({what}): {meaning} See docs/reference/configuration.md."


def _refuse_renamed() -> None:
    """Exit if a limit is set under its former name, because it would be silently ignored."""
    for old, new in _RENAMED.items():
        if _PREFIX + old in os.environ:
            raise SystemExit(f"{_PREFIX}{old} is now called {_PREFIX}{new}: set that instead.")


def _warn_of_misspelled() -> None:
    """Warn about variables that look like misspelled settings; Kubernetes sets its own with our prefix, too."""
    names = [_PREFIX + name.upper() for name in Settings.model_fields]
    for variable in sorted(os.environ.keys() - set(names)):
        if variable.startswith(_PREFIX) and (meant := difflib.get_close_matches(variable, names, 1, _ALIKE)):
            logger.warning("%s is not a setting: did you mean %s?", variable, meant[0])
