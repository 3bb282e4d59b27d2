"""The rules over steps: sick and healthy histories, at their limits, with the step at which each began."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from gradscope.records import Ending, Finding, History, StepRecord, ValidationRecord
from gradscope.rules import Parts, judge
from tests.recording.made import history, step

Losses = Callable[[int], float]


def falling(t: int) -> float:
    return math.exp(-t / 40) + 0.05


def of(losses: Losses, steps: int = 200, batches: int | None = None, **rows: Sequence[float]) -> History:
    return history(steps, lambda t: step(t, loss=losses(t), **rows), batches_per_pass=batches)


def found(seen: History) -> dict[str, Finding]:
    return {finding.rule: finding for finding in judge(Parts(history=seen))[0]}


def noisy(level: float, noise: float, seed: int = 0) -> Losses:
    draw = random.Random(seed)
    values = [level + noise * draw.gauss(0, 1) for _ in range(5000)]
    return lambda t: values[t]


HEALTHY: dict[str, History] = {
    "falls": of(falling),
    "falls with noise": of(lambda t: falling(t) + 0.1 * noisy(0, 1)(t)),
    "falls by a tenth under much noise": of(lambda t: noisy(3.0 - 0.6 * t / 200, 0.3)(t)),
    "a policy gradient's loss around 0": of(noisy(0.01, 1.0)),
    "a negative log-likelihood that goes below 0": of(lambda t: 1.0 - t / 50),
    "one batch at the edge of stability": of(lambda t: falling(t) * (1 + 0.05 * (-1) ** t), batches=1),
    "dropout on one batch": of(lambda t: falling(t) + noisy(1.0, 0.3)(t), batches=1),
    "two batches of which one is harder": of(lambda t: falling(t) * (1.0 if t % 2 else 3.0), batches=2),
    "learned by heart": of(lambda t: math.exp(-t / 5)),
    "learned in the first steps": of(lambda t: 0.65 + 0.25 * math.exp(-t / 6) + noisy(0, 0.01)(t)),
    "falls for long on a log scale": of(lambda t: 4.5 * math.exp(-t / 12) + 0.05 * math.exp(-t / 80)),
    "slow descent": of(lambda t: 10.0 / (t + 10)),
    "steep at the start": of(lambda t: 100.0 if t < 3 else falling(t)),
    "an offset of a thousand": of(lambda t: 1000.0 + 0.1 * falling(t) + noisy(0, 0.002)(t)),
    "a noisy batch among three": of(
        lambda t: falling(t) * (abs(noisy(3, 2)(t)) if t % 3 == 0 else 1), batches=3
    ),
    "rows of which some are hard": of(lambda t: random.Random(t).expovariate(1.0) ** 2 + 0.1),
    "too short to say": of(lambda t: 1.0, steps=30),
    "an exploding start that recovers": of(lambda t: 1.0 if t == 0 else 50.0 * math.exp(-t / 3) + 0.2),
}


@pytest.mark.parametrize("seen", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_training_gets_nothing_but_notes(seen: History) -> None:
    assert [f.rule for f in found(seen).values() if f.severity.value != "note"] == []


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    "losses", [falling, noisy(2.0, 0.1), lambda t: 1.0 + t / 50], ids=["falls", "stays", "rises"]
)
def test_verdicts_do_not_move_with_the_scale_of_the_loss(scale: float, losses: Losses) -> None:
    assert found(of(lambda t: scale * losses(t))).keys() == found(of(losses)).keys()


def test_a_step_that_would_break_the_params_is_an_error_with_its_step_and_layers() -> None:
    def at(t: int) -> StepRecord:
        broken = t == 36
        return step(t, loss=5.0, norm=2.0, update_rms=(1.0, math.inf if broken else 1.0))

    finding = found(history(37, at, ending=Ending.NOT_FINITE))["non-finite-update"]
    assert (finding.severity.value, finding.layer, finding.evidence["step"]) == ("error", "head", 36)
    assert "Step 36 would make parameters in `head` NaN or infinite" in finding.message
    assert "what the optimizer makes of them is not" in finding.message


@pytest.mark.parametrize(
    ("loss", "norm", "said"),
    [
        (math.nan, 1.0, "The loss of that step is not finite"),
        (3.0, math.inf, "its gradient is not, or is beyond"),
    ],
)
def test_what_was_not_finite_at_that_step_is_said(loss: float, norm: float, said: str) -> None:
    seen = history(5, lambda t: step(t, loss=loss if t == 4 else 1.0, norm=norm), ending=Ending.NOT_FINITE)
    assert said in found(seen)["non-finite-update"].message


def test_a_loss_that_is_not_finite_to_the_end_is_an_error() -> None:
    seen = of(lambda t: math.nan if t >= 70 else 1.0)
    finding = found(seen)["non-finite-update"]
    assert (finding.severity.value, finding.evidence["step"]) == ("error", 70)
    assert "non-finite-update" not in found(of(lambda t: math.nan if t == 70 else falling(t)))


@pytest.mark.parametrize("ending", [Ending.NOT_FINITE, Ending.LOSS_NOT_FINITE])
def test_a_loss_that_grows_until_it_breaks_is_one_error(ending: Ending) -> None:
    seen = history(20, lambda t: step(t, loss=math.inf if t > 17 else 10.0**t), ending=ending)
    (finding,) = found(seen).values()
    assert (finding.rule, finding.severity.value) == ("diverging-loss", "error")
    assert finding.evidence["step"] == (19 if ending is Ending.NOT_FINITE else 18)
    assert "grows from 1 at step 0 to 1e+17, from step to step" in finding.message


def test_noise_before_a_nan_is_no_growth() -> None:
    """A mask that leaves nothing over divides 0 by 0, in the midst of a healthy training."""
    draw = random.Random(0)
    losses = [0.00098, *(abs(draw.gauss(0, 1)) + 0.1 for _ in range(58)), 0.05, math.nan]
    seen = history(61, lambda t: step(t, loss=losses[t]), ending=Ending.NOT_FINITE)
    assert list(found(seen)) == ["non-finite-update"]


def test_one_broken_batch_that_the_optimizer_drops_is_no_end() -> None:
    assert "non-finite-update" not in found(of(lambda t: math.nan if t % 10 == 9 else falling(t)))
    twice = of(lambda t: math.nan if t == 5 or t >= 60 else 1.0)
    assert found(twice)["non-finite-update"].evidence["step"] == 60


def test_a_loss_that_rises_is_a_warning() -> None:
    finding = found(of(lambda t: 1.0 + t / 50))["diverging-loss"]
    assert finding.severity.value == "warning"
    assert "take the loss up, from 1.39 to 4.59" in finding.message
    assert "diverging-loss" not in found(of(lambda t: 1.0 + t / 400))


def test_a_loss_that_stays_is_told() -> None:
    finding = found(of(noisy(2.3, 0.05)))["loss-not-decreasing"]
    assert finding.severity.value == "warning"
    assert "200 steps of your optimizer leave the loss at 2.29" in finding.message
    assert "loss-not-decreasing" in found(of(lambda t: 1.0 - 1e-9 * t, batches=1))
    assert "loss-not-decreasing" not in found(of(lambda t: 1.0 - 1e-3 * t, batches=1))


def test_one_wild_loss_does_not_hide_that_it_falls() -> None:
    seen = of(lambda t: 1e4 if t == 190 else falling(t))
    assert "loss-not-decreasing" not in found(seen)
    assert found(seen)["loss-spike"].evidence["step"] == 190


def test_alternation_on_one_batch_is_told_and_no_other() -> None:
    def swinging(t: int) -> float:
        return 2.0 + 0.5 * (-1) ** t

    assert found(of(swinging, batches=1))["oscillating-loss"].evidence["step"] == 100
    assert "oscillating-loss" not in found(of(swinging, batches=2))
    assert "oscillating-loss" not in found(of(lambda t: 2.0 + 0.05 * (-1) ** t, batches=1))
    assert "oscillating-loss" not in found(of(lambda t: 2.0 + 0.5 * math.sin(t / 5), batches=1))


def test_a_plateau_has_the_step_at_which_it_begins() -> None:
    finding = found(of(lambda t: max(1.0, 3.0 - t / 20) + noisy(0, 0.01)(t)))["plateau"]
    assert finding.severity.value == "note"
    assert 30 <= finding.evidence["step"] <= 50
    assert "plateau" not in found(of(lambda t: max(1.0, 3.0 - t / 60)))
    assert "plateau" not in found(HEALTHY["falls for long on a log scale"])
    assert "plateau" not in found(of(lambda t: max(1e-4, 3.0 - t / 20)))
    assert "plateau" not in found(of(lambda t: max(1.0, 3.0 - t / 20) + 5 * (t > 60)))


def validated(losses: Sequence[float], training: Losses = falling) -> History:
    looks = tuple(ValidationRecord(10 * place, loss) for place, loss in enumerate(losses))
    return replace(of(training, steps=10 * (len(losses) - 1)), validation=looks)


def test_overfitting_names_the_step_to_stop_at() -> None:
    rising = [3.0, 2.0, 1.5, 1.4, 1.5, 1.7, 1.9, 2.2, 2.4]
    finding = found(validated(rising))["overfitting"]
    assert finding.evidence["step"] == 30
    assert "lowest at step 30, 1.4, and is 2.4 at the end" in finding.message
    assert "overfitting" not in found(validated(rising, lambda t: 1.0 + 0.001 * t))
    assert "overfitting" not in found(validated([3.0, 2.0, 1.5, 1.4, 1.5, 1.45, 1.42, 1.41, 1.4]))
    assert "overfitting" not in found(validated([3.0, 2.5, 2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.9]))
    assert "overfitting" in found(validated([3.0, 3.2, 3.5, 3.7, 4.0, 4.1]))
    at_floor = noisy(0.93, 0.05)
    for seed in range(20):
        looks = [noisy(0.86, 0.015, seed)(t) for t in range(20)]
        assert "overfitting" not in found(validated(looks, at_floor))


def dying(t: int, since: int, head: float = 1.0) -> StepRecord:
    return step(t, loss=falling(t), gradient_rms=(0.0 if t >= since else 1.0, head))


def test_a_layer_that_loses_its_gradient_is_named_with_the_step() -> None:
    finding = found(history(200, lambda t: dying(t, 120)))["lost-gradient"]
    assert (finding.layer, finding.evidence["step"], finding.severity.value) == ("encoder", 120, "warning")
    assert "lost-gradient" not in found(history(200, lambda t: dying(t, 185)))
    assert "lost-gradient" not in found(history(200, lambda t: dying(t, 0)))
    assert "lost-gradient" not in found(history(200, lambda t: dying(t, 120, head=float(t < 120))))
    routed = history(200, lambda t: step(t, loss=falling(t), gradient_rms=(float(t % 30 == 0), 1.0)))
    assert "lost-gradient" not in found(routed)


def test_a_spike_names_the_layer_whose_update_grew_before_it() -> None:
    def at(t: int) -> StepRecord:
        return step(t, loss=falling(t) * (20 if t == 150 else 1), update_rms=(1.0, 8.0 if t == 147 else 1.0))

    finding = found(history(200, at))["loss-spike"]
    assert (finding.layer, finding.evidence["step"]) == ("head", 150)
    assert "the update of `head` grew to 8 times" in finding.message
    calm = found(of(lambda t: falling(t) * (20 if t == 150 else 1)))["loss-spike"]
    assert calm.layer is None
    harder = of(lambda t: falling(t) + 2.0 * (t > 100) * math.exp((100 - t) / 300))
    assert "loss-spike" not in found(harder), "it does not come back"
    assert "Look at the batch of step 150" in calm.remedy


def test_a_spike_is_told_by_gradients_where_no_update_was_measured() -> None:
    def at(t: int) -> StepRecord:
        grown = (1.0, 8.0 if t == 147 else 1.0)
        return step(t, loss=falling(t) * (20 if t == 150 else 1), gradient_rms=grown)

    seen = history(200, at)
    seen = replace(seen, layers=tuple(replace(layer, update_rms=None) for layer in seen.layers))
    finding = found(seen)["loss-spike"]
    assert finding.layer == "head"
    assert "the gradient of `head` grew to 8 times" in finding.message
    assert finding.evidence["growth_of_gradient"] == 8


def test_a_frozen_training_is_told_once() -> None:
    assert list(found(of(lambda t: 1.0, batches=1))) == ["loss-not-decreasing"]


def test_merged_spans_are_named_as_ranges() -> None:
    seen = history(4000, lambda t: dying(t, 3000))
    assert "since steps 3,000 to 3,003" in found(seen)["lost-gradient"].message
