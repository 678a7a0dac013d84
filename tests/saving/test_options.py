"""The options of save_model.py, as messages name them."""

import pytest

import src.bulk
import src.demo
import src.saving.options
import src.training.options
from src.errors import Remedy
from src.saving.options import with_flags


def test_every_option_of_the_commands_is_explained() -> None:
    """--help has a sentence on every argument of save_model.py, src.train, src.bulk and src.demo."""
    parsers = [
        src.saving.options.parser(""),
        src.training.options.parser(""),
        src.bulk._parser(),
        src.demo._parser(),
    ]
    for parser in parsers:
        assert [action.dest for action in parser._actions if not action.help] == [], parser.prog


@pytest.mark.parametrize(
    ("remedies", "flags"),
    [
        ((), ""),
        ((Remedy("architecture"), Remedy("module")), " (--arch or --module FILE.py:CLASS)"),
        ((Remedy("network", "student"), Remedy("network", "teacher")), " (--network student or --network teacher)"),
        ((Remedy("mean"), Remedy("std")), " (--mean or --std)"),
        ((Remedy("mean", "0,0,0"), Remedy("std", "1,1,1")), " (--mean 0,0,0 --std 1,1,1)"),
        ((Remedy("resize", "96x96"), Remedy("crop", "96x96")), " (--resize 96x96 --crop 96x96)"),
        ((Remedy("arg", "size=VALUE"), Remedy("arg", "data=VALUE")), " (--arg size=VALUE --arg data=VALUE)"),
    ],
)
def test_flags_that_belong_together_are_no_alternatives(remedies: tuple[Remedy, ...], flags: str) -> None:
    """Mean and std of a better preprocessing go together, as do missing arguments; networks exclude each other."""
    assert with_flags("Choose.", remedies) == f"Choose.{flags}"
