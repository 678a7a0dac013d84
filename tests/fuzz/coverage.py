"""Fuzz guided by coverage: ``python -m tests.fuzz.coverage -runs=20000 CORPUS``, with the options of libFuzzer.

It covers our Python code and Pillow's, but not the compiled decoders.
"""

import random
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "src"]):
    from src.stages.decode import Enough
    from tests.fuzz.judge import judge
from tests.fuzz.mutation import mutant
from tests.fuzz.seeds import make_seeds

_OWN = 0.3  # share of our own mutations, which handle checksums and mix formats
_ENOUGH = Enough(8, 8)


def _one(data: bytes) -> None:
    judge(data, _ENOUGH if len(data) % 2 else None)


def _mutate(data: bytes, most: int, seed: int) -> bytes:
    rng = random.Random(seed)  # noqa: S311 - not secret, and the same in every run
    if rng.random() > _OWN:
        return bytes(atheris.Mutate(data, most))
    name = "PNG" if data.startswith(b"\x89PNG") else rng.choice(list(make_seeds()))
    seeds = make_seeds()
    return mutant(rng, name, {**seeds, name: (data,) if data else seeds[name]})[:most]


def main() -> None:
    """Write the seeds to the corpus, then fuzz."""
    warnings.simplefilter("ignore")  # as in the service
    corpus = next((Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        for name, files in make_seeds().items():
            for index, data in enumerate(files):
                (corpus / f"{name}-{index}").write_bytes(data)
    atheris.Setup([*sys.argv, "-max_len=20000", "-timeout=10", "-rss_limit_mb=2500"], _one, custom_mutator=_mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
