"""exploding-gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Severity
from tests.rules.healthy import HEALTHY
from tests.rules.made import chain, decay, found, log_line, measured

RULE = "exploding-gradient"
SICK = {
    "four layers at 16": decay(4, 16.0),
    "four layers at the limit": decay(4, 10.0),
    "60 layers of BatchNorm": decay(60, 1.2),
    "growth that the first layer takes back": [1.0, *log_line((0, 6), (8, 0))],
    "a level trunk under a growing head": [1e8] * 100 + log_line((0, 8), (10, 0)),
    "12 transformer blocks, weights too large": [
        a * b for a, b in zip([1.0, 0.3, 0.9, 1.1, 0.05, 1.0] * 12, decay(72, 1.3), strict=True)
    ],
}


@pytest.mark.parametrize("deltas", SICK.values(), ids=SICK.keys())
def test_a_steady_growth_is_one_error(deltas):
    (finding,) = found(chain(deltas), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["total"] >= 999.999


@pytest.mark.parametrize("deltas", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_healthy_profile_is_silent(deltas):
    assert not found(chain(deltas), RULE)


def test_it_fires_at_the_limit_and_is_quiet_just_below():
    assert found(chain(decay(7, 1e3 ** (1 / 6))), RULE)
    assert not found(chain(decay(7, 999.0 ** (1 / 6))), RULE)


def test_weights_too_large_are_told_against_he_with_the_number_to_use():
    (finding,) = found(chain(decay(8, 4.0), weight_rms=1.0), RULE)
    assert "4 times He initialization" in finding.message
    assert "standard deviation 0.25" in finding.remedy


def test_weights_of_the_usual_size_ask_for_normalization():
    (finding,) = found(chain(decay(8, 4.0)), RULE)
    assert "LayerNorm" in finding.remedy


def test_the_clipping_number_is_the_norm_of_a_level_network():
    (finding,) = found(chain(decay(8, 4.0), gradient_norm=2.0), RULE)
    assert "`optax.clip_by_global_norm(2)`" in finding.remedy
    assert "symptom" in finding.remedy


def test_where_the_activations_explode_too_no_clipping_number_is_made_up():
    net = chain(decay(8, 4.0))
    layers = [replace(one, activation_rms=4.0**i) for i, one in enumerate(net.layers)]
    (finding,) = found(measured(layers), RULE)
    assert "Clipping only treats the symptom" in finding.remedy
    assert finding.evidence["activation_growth_per_layer"] == pytest.approx(4.0)
