"""What is said of a rounded program."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import KeptWide, LayerInPrecision, NarrowSum, Precision, Source
from gradscope.report.shared.precision import precision_table, said

LAYER = LayerInPrecision("head", 0.6, None, None, None, None, cosine_up=0.98)
FOUND = Precision("mxfp8", 2.3, 2.31, 0.7, (LAYER,), cosine_up=0.99)
LINES = (KeptWide("sums", Source("m.py", 3, ""), 0.96), KeptWide("sums", Source("m.py", 9, ""), 0.5))


def test_scales_that_are_rounded_up_have_a_column_and_a_clause() -> None:
    table = precision_table(FOUND)
    assert [column.heading for column in table.columns] == ["cosine", "cosine, scales rounded up"]
    assert "the cosine of the two gradients is 0.700, and 0.990 where the scales" in said(FOUND)


def test_sums_in_a_small_format_are_told_with_their_lines() -> None:
    sums = tuple(NarrowSum("cumsum", "bfloat16", 4096, Source("m.py", line, "")) for line in range(1, 6))
    text = said(replace(FOUND, narrow_sums=sums))
    assert "adds up in a small format: cumsum of 4,096 numbers in bfloat16 at m.py:1, cumsum of" in text
    assert text.endswith("at m.py:3 and 2 more.")


def test_what_brings_most_back_is_told_with_what_was_tried() -> None:
    kinds = (KeptWide("products", None, 0.61), KeptWide("sums", None, 0.97))
    text = said(replace(FOUND, kept=(*kinds, *LINES), kept_before=0.6))
    assert (
        "Of 2 kinds of operations that were kept as they are in turn, sums along axes bring most back" in text
    )
    assert "the lowest cosine of a layer is 0.970 then, and 0.600 with nothing kept." in text
    assert text.endswith("Those at m.py:3 alone bring 0.960, the most of 2 lines.")
    nothing = said(replace(FOUND, cosine=None, kept=(KeptWide("sums", None, -1.0),), kept_before=-1.0))
    assert "None of 1 kind of operations, kept as it is while all else is rounded, gives every" in nothing
    none = said(replace(FOUND, kept=kinds, kept_before=-1.0))
    assert none.endswith("and none with nothing kept.")
