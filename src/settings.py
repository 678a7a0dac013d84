"""The one settings object: every value can be set by an environment variable ``IMAGE_RECOGNITION_<NAME>``."""

from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from src.cores import usable_cores

__all__ = ["Settings", "read_settings"]

_PREFIX: Final = "IMAGE_RECOGNITION_"
_TAG: Final = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[a-z0-9]([a-z0-9._-]*[a-z0-9])?)?$"


class Settings(BaseSettings):
    """Configuration of the service, read once from the environment."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, protected_namespaces=())

    model: str = Field(
        default="image_recognition:latest", pattern=_TAG, description="Tag of the model in the BentoML model store."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the network runs; auto takes a CUDA GPU where there is one."
    )
    runtime: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        description="What runs the network; auto: OpenVINO on a CPU where it was converted, else torch.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="fp32 answers as torch does; bf16 is faster on CPUs that have it: see save_model.py --check.",
    )
    threads: int = Field(
        default_factory=lambda: 2 * usable_cores(),
        ge=1,
        description="Pictures in work at once; default: two per usable core, one in the network, one before or behind.",
    )
    max_queue: int = Field(
        default=128, ge=0, description="Requests that may wait for a thread; one more is answered 429."
    )
    timeout: float = Field(default=30.0, gt=0, description="Seconds from the first byte of a request to its 504.")
    max_waiting_bytes: int = Field(
        default=512_000_000, ge=1, description="Bytes of all bodies in memory; a request beyond that is answered 429."
    )
    max_body_bytes: int = Field(default=20_000_000, ge=1, description="Bytes of a request body; more is answered 413.")
    max_batch_bytes: int = Field(default=64_000_000, ge=1, description="Bytes of the body of a batch request.")
    max_batch: int = Field(default=64, ge=1, description="Pictures in a batch request.")
    max_pixels: int = Field(default=64_000_000, ge=1, description="Pixels of a picture, judged before decoding.")
    max_side: int = Field(default=20_000, ge=1, description="Pixels of the longer side of a picture.")
    max_returned_side: int = Field(
        default=4_096,
        ge=1,
        le=16_383,
        description="Pixels of the longer side of a returned picture, whatever max_side says.",
    )
    cors_origins: tuple[str, ...] = Field(
        default=(), description='Origins that browsers may call from, as a JSON list such as ["https://example.org"].'
    )
    api_key: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None, description="Key that requests must send as 'Authorization: Bearer <key>'; at least 16 letters."
    )
    open_probes: bool = Field(default=True, description="Whether /livez, /readyz and /healthz need no key.")
    open_metrics: bool = Field(default=True, description="Whether /metrics needs no key.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="json writes every line of the log as one JSON object."
    )


def read_settings() -> Settings:
    """Return the settings of the environment; end the program with one sentence where one of them is wrong."""
    try:
        return Settings()
    except ValidationError as exc:
        fault = exc.errors()[0]
        raise SystemExit(f"{_PREFIX}{str(fault['loc'][0]).upper()} is wrong: {fault['msg']}. See the README.") from None
    except SettingsError as exc:
        raise SystemExit(f"A setting is wrong: {exc}; lists are written as JSON. See the README.") from None
