"""The options of save_model.py, as messages name them."""

import pytest

from src.errors import Remedy
from src.saving.options import with_flags


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
