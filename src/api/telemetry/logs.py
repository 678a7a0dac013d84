"""The lines of the log, as text or as JSON."""

import json
import logging
import time
from contextvars import ContextVar
from typing import Any, Final, Literal

__all__ = ["JsonLines", "configure_logs", "log_fields", "request_id"]

# Id of the request being answered, in its task and in every thread that works for it; empty outside a request.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_OURS: Final = "src"
_OF_OTHERS: Final = ("", "bentoml", "uvicorn.error", "circus")  # as in BentoML's configure_server_logging


class JsonLines(logging.Formatter):
    """Writes each record as one line of JSON; a traceback is one string in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``record`` as a JSON object without line breaks."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **({"request_id": request_id.get()} if request_id.get() else {}),
            **fields,
            **({"traceback": self.formatException(record.exc_info)} if record.exc_info else {}),
        }
        return json.dumps(line, default=str)


def configure_logs(log_format: Literal["text", "json"]) -> None:
    """Enable our log lines in the handlers that BentoML set up; with JSON, format every line of this process."""
    logging.getLogger(_OURS).setLevel(logging.INFO)
    if log_format == "json":
        logging.captureWarnings(capture=True)
        for handler in {handler for name in _OF_OTHERS for handler in logging.getLogger(name).handlers}:
            handler.setFormatter(JsonLines())


def log_fields(logger: logging.Logger, fields: dict[str, Any]) -> None:
    """Log ``fields`` in one line: name=value in text, one key each in JSON."""
    logger.info(" ".join(f"{name}={value}" for name, value in fields.items()), extra={"fields": fields})
