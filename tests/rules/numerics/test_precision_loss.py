"""precision-loss on records."""

from __future__ import annotations

import math
from dataclasses import replace

from gradscope.records import KeptWide, LayerInPrecision, Precision
from tests.rules.made import found, measured, source


def judged(precision):
    return found(replace(measured(), precision=precision), "precision-loss")


def layer(cosine, **more):
    return LayerInPrecision("head", cosine, None, None, None, None, **more)


def rounded(name, *layers, **more):
    return Precision(name, 1.0, 1.0, 0.9, layers, **more)


def test_a_cosine_below_the_limit_is_told_and_the_limit_itself_is_not():
    (finding,) = judged(rounded("bf16", layer(0.899)))
    assert finding.layer == "head"
    assert finding.remedy == "Keep `head` in float32."
    assert not judged(rounded("bf16", layer(0.9)))


def test_a_loss_scale_that_mends_it_is_the_remedy():
    scaled = rounded("f16", layer(0.5, cosine_scaled=0.99), scale=1024.0)
    (finding,) = judged(scaled)
    assert finding.remedy.startswith("Multiply the loss by 1024 ")
    assert "it is 0.99 and more" in finding.message


def test_scales_that_are_rounded_up_are_the_remedy_where_they_were_tried_and_help():
    (finding,) = judged(rounded("mxfp8", layer(0.8, cosine_up=0.98)))
    assert "rounded up, the cosine is 0.98 and more." in finding.message
    assert finding.remedy == (
        "Round the scales of blocks up, where your library gives a choice, or keep `head` in float32."
    )
    (other,) = judged(rounded("mxfp8", layer(0.8, cosine_up=0.89)))
    assert "rounded up" not in other.message
    assert other.remedy == "Keep `head` in float32."


def test_a_place_that_was_kept_and_helps_is_the_remedy():
    line, kind = KeptWide("sums", source(3), 0.95), KeptWide("sums", None, 0.97)
    (finding,) = judged(rounded("bf16", layer(0.5), kept=(kind, line), kept_before=0.5))
    assert finding.remedy == (
        "Keep the sums at model.py:3 in float32: tried, the lowest cosine of a layer is 0.95 then."
    )
    (whole,) = judged(rounded("bf16", layer(0.5), kept=(kind, replace(line, cosine=0.6)), kept_before=0.5))
    assert whole.remedy.startswith("Keep the sums in float32: tried")
    (neither,) = judged(rounded("bf16", layer(0.5), kept=(replace(kind, cosine=0.8),), kept_before=0.5))
    assert neither.remedy == "Keep `head` in float32."


def test_a_loss_that_is_not_finite_is_told_first():
    (finding,) = judged(replace(rounded("f16", layer(0.1)), rounded_loss=math.inf))
    assert "the loss is not finite" in finding.message
    kept = replace(rounded("f16", layer(0.1)), rounded_loss=math.inf, kept=(KeptWide("sums", None, 0.99),))
    assert judged(kept)[0].remedy.startswith("Keep the sums in float32: tried")
