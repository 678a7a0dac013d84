"""Send what a public service receives: valid, broken and huge requests, and clients that disconnect or send slowly."""

import asyncio
import base64
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

import psutil

from tests.benchmarks.photos import SMALL, make_photos, resized_photo
from tests.benchmarks.progress import say
from tests.hostile import png
from tests.serving import Server
from tests.soak.load import BROKEN, Client, request_bytes
from tests.soak.overload import json_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Soak"]

_CLIENTS: Final = 24
_REPORT_EVERY: Final = 5_000
_SAMPLE_SECONDS: Final = 2.0
_GROWTH: Final = 0.02
_FORM: Final = "multipart/form-data; boundary=x"


@dataclass(frozen=True)
class Kind:
    """One kind of request: its share, what is sent and how, and the correct statuses."""

    name: str
    share: float
    data: bytes
    right: frozenset[int]
    send: str = "whole"


@cache
def _kinds() -> list[Kind]:
    small = make_photos(SMALL).files
    one = small[0]
    good = json_body(one)
    bomb = base64.b64encode(png(30_000, 30_000, bytes(100))).decode()
    batch = {"imgs": [base64.b64encode(file).decode() for file in small[:2]] + ["!"]}
    ok, refused = frozenset({200}), frozenset({400})
    left = frozenset({BROKEN})
    return [
        *(Kind("good", 0.08, _json(json_body(file)), ok) for file in small),
        Kind("good, no heat", 0.1, _json(json_body(one, gradcam=False)), ok),
        Kind("good, file", 0.1, request_bytes("/image_recognition_file", _form(one), _FORM), ok),
        Kind("good, 12 megapixels", 0.005, _json(json_body(resized_photo(12))), ok),
        Kind("batch, one broken", 0.02, request_bytes("/image_recognition_batch", json.dumps(batch).encode()), ok),
        Kind("truncated image", 0.04, _json(json_body(one[: len(one) // 2])), frozenset({422})),
        Kind("not an image", 0.03, _json(json_body(b"%PDF-1.7")), frozenset({415})),
        Kind("not base64", 0.03, _json(b'{"img": "!"}'), refused),
        Kind("not JSON", 0.03, _json(good[:-9]), refused),
        Kind("unknown field", 0.03, _json(json_body(one, color="red")), refused),
        Kind("unknown class", 0.02, _json(json_body(one, target="no such class")), refused),
        Kind("wrong type", 0.02, request_bytes("/image_recognition", good, "text/plain"), frozenset({415})),
        Kind("wrong form", 0.02, request_bytes("/image_recognition_file", b"nonsense", _FORM), refused),
        Kind("unknown path", 0.02, request_bytes("/nothing", b""), frozenset({404})),
        Kind("wrong method", 0.02, request_bytes("/model", b""), frozenset({405})),
        Kind("too many pixels", 0.03, _json(json.dumps({"img": bomb}).encode()), frozenset({413})),
        Kind("too many bytes", 0.001, _json(b" " * 20_000_001), frozenset({413, BROKEN})),
        Kind("many values", 0.002, _json(b'{"img": [' + b"1," * 500_000 + b"1]}"), refused),
        Kind("disconnects halfway", 0.03, _json(good), left, "half"),
        Kind("disconnects before the answer", 0.03, _json(good), left, "leave"),
        Kind("byte by byte", 0.002, _json(b'{"img": "' + b"QUJD" * 20 + b'"}'), frozenset({415}), "slowly"),
    ]


def _json(body: bytes) -> bytes:
    return request_bytes("/image_recognition", body)


def _form(file: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="img"; filename="a"\r\n\r\n' + file + b"\r\n--x--\r\n"


@dataclass
class Soak:
    """Mixed requests to one server, and its memory and open files meanwhile.

    ``sizes`` and ``files`` are resident bytes and open files of the worker process, every two seconds; ``at_rest`` has
    both after each run.
    """

    server: Server
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: Counter[tuple[str, int]] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    at_rest: list[tuple[int, int]] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - the same in every run

    async def run(self, requests: int) -> None:
        """Send ``requests`` more requests: one of each kind, then random ones by their shares."""
        host, port = self.server.url.removeprefix("http://").split(":")
        client, kinds = Client(host, int(port)), _kinds()
        sending: dict[str, Callable[[bytes], Awaitable[int]]] = {
            "whole": client.ask,
            "half": lambda data: _leave(host, int(port), data[: len(data) // 2]),
            "leave": lambda data: _leave(host, int(port), data),
            "slowly": lambda data: _slowly(host, int(port), data),
        }
        others = self._random.choices(kinds, [kind.share for kind in kinds], k=requests - len(kinds))
        chosen = iter([*kinds, *others])
        looking = asyncio.create_task(self._look())

        async def one() -> None:
            for kind in chosen:
                status = await sending[kind.send](kind.data)
                self.answers[kind.name, status] += 1
                if status not in kind.right:
                    self.wrong[kind.name, status] += 1
                if self.answers.total() % _REPORT_EVERY == 0:
                    self._report()

        await asyncio.gather(*(one() for _ in range(_CLIENTS)))
        looking.cancel()
        client.close()
        await asyncio.sleep(1)
        self.at_rest.append((self._worker().memory_info().rss, self._worker().num_fds()))
        self._report()

    def faults(self) -> list[str]:
        """Return a sentence for each thing that went wrong."""
        found = [f"{name!r} was answered {status} {count} times" for (name, status), count in self.wrong.items()]
        tenth = max(1, len(self.sizes) // 10)
        early, late = median(self.sizes[tenth : 4 * tenth]), median(self.sizes[-3 * tenth :])
        if late > (1 + _GROWTH) * early:
            found.append(f"memory grew from {early / 1e6:.0f} to {late / 1e6:.0f} MB")
        found += [
            f"open files grew from {before} to {after}"
            for (_, before), (_, after) in pairwise(self.at_rest)
            if after > before
        ]
        return found

    def _worker(self) -> psutil.Process:
        (worker,) = (
            child
            for child in psutil.Process(self.server.process.pid).children()
            if "worker" in " ".join(child.cmdline())
        )
        return worker

    async def _look(self) -> None:
        worker = self._worker()
        while True:
            self.sizes.append(worker.memory_info().rss)
            self.files.append(worker.num_fds())
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _report(self) -> None:
        worker = self._worker()
        say(
            f"soak: {self.answers.total():6d} requests, {sum(self.wrong.values())} wrong answers, "
            f"{worker.memory_info().rss / 1e6:.1f} MB, {worker.num_fds()} open files"
        )


async def _leave(host: str, port: int, data: bytes) -> int:
    """Send ``data`` and disconnect."""
    _, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    await writer.drain()
    writer.transport.abort()
    return BROKEN


async def _slowly(host: str, port: int, data: bytes) -> int:
    """Send ``data`` byte by byte, and return the status of the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    for index in range(len(data)):
        writer.write(data[index : index + 1])
        await asyncio.sleep(0.01)
    status = int((await reader.readline())[9:12])
    writer.transport.abort()
    return status
