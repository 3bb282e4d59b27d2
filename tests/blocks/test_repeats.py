"""Where a sequence of equations is cut: by its repeats, and where little crosses."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from gradscope.blocks.repeats import Sizes, cut

SMALL = Sizes(shortest=2, longest=20, least_saved=2)


def stretches(text: str, crossing: list[int] | None = None, sizes: Sizes = SMALL) -> list[str]:
    """The pieces of a text whose letters stand for equations."""
    keys = [ord(letter) for letter in text]
    found = cut(keys, crossing or [0] * (len(keys) + 1), sizes)
    return [text[low:high] for low, high in found]


def test_equal_stretches_in_a_row_are_cut_apart() -> None:
    assert stretches("xy" + "abc" * 4 + "z") == ["xy", "abc", "abc", "abc", "abc", "z"]


def test_two_repeats_in_one_program_are_both_found() -> None:
    assert stretches("s" + "abc" * 5 + "m" + "defg" * 5) == ["s", *["abc"] * 5, "m", *["defg"] * 5]


def test_a_repeat_inside_a_repeat_is_cut_inside_each_copy_alike() -> None:
    found = stretches(("ab" * 4 + "uvwxyz") * 3)
    assert found == [*["ab"] * 4, "uvwxyz"] * 3


def test_the_cut_is_made_where_the_fewest_bytes_cross() -> None:
    text = "abcd" * 4 + "ab"
    crossing = [9] + [[9, 9, 1, 9][index % 4] for index in range(1, 18)] + [9]
    assert stretches(text, crossing) == ["ab", *["cdab"] * 4]


def test_short_periods_are_taken_together() -> None:
    assert stretches("ab" * 12, sizes=Sizes(shortest=6, longest=20, least_saved=2)) == ["ababab"] * 4


def test_what_does_not_repeat_is_cut_into_pieces_of_a_bounded_length() -> None:
    text = "".join(chr(1000 + index) for index in range(70))
    found = stretches(text)
    assert "".join(found) == text
    assert all(10 <= len(piece) <= 20 for piece in found)


@given(st.text("abcd", max_size=120), st.integers(1, 9), st.integers(2, 30))
def test_the_pieces_are_the_whole_in_order(text: str, shortest: int, longest: int) -> None:
    assert "".join(stretches(text, sizes=Sizes(shortest, longest, 1))) == text


def test_a_long_program_of_one_block_has_three_kinds_of_pieces() -> None:
    rng = np.random.default_rng(0)
    block = list(rng.integers(0, 40, 67))
    keys = [*range(100, 105), *block * 300, *range(200, 221)]
    found = cut(keys, [0] * (len(keys) + 1))
    kinds = {tuple(keys[low:high]) for low, high in found}
    assert len(found) == 302
    assert len(kinds) == 3


def test_layers_before_and_after_another_one_are_cut_alike() -> None:
    """The run after the odd layer begins inside that layer, whose end is that of the others."""
    found = stretches("ab" + "cdefgh" * 5 + "cdXgh" + "cdefgh" * 4 + "z")
    assert found.count("cdefgh") == 9


def test_what_differs_in_layers_of_one_kind_is_cut_out() -> None:
    def cut_text(text: str, kinds: str) -> list[str]:
        found = cut([*map(ord, text)], [0] * (len(text) + 1), Sizes(4, 60, 2), [*map(ord, kinds)])
        return [text[low:high] for low, high in found]

    layer = "abcdefghijklmnopqrst"
    text = "".join(f"{number}{layer}" for number in range(5))
    assert cut_text(text, f"_{layer}" * 5) == [part for number in range(5) for part in (str(number), layer)]
    assert cut_text(text, text) == cut_text(text, text)
    other = "".join(f"{number}{layer[number:] + layer[:number]}" for number in range(5))
    assert "".join(cut_text(other, "x" * len(other))) == other
