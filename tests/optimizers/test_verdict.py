"""What is said of the ranking: no more than the seeds show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradscope.optimizers.results import ranked, sentence, written
from gradscope.optimizers.verdict import reasons
from gradscope.records import Comparison, Contestant, Trial
from tests.report.canned import compared


def comparison(*rows: Contestant, **more: Any) -> Comparison:
    found = compared().optimizers
    assert found is not None
    return replace(found, contestants=rows, **more)


def ended(name: str, *finals: float, **more: Any) -> Contestant:
    """One run at the best rate for each seed, from a loss of 2."""
    trials = tuple(Trial(0.01, seed, (2.0, end), end, None, None, False) for seed, end in enumerate(finals))
    found = compared().optimizers
    assert found is not None
    middle = sorted(finals)[len(finals) // 2]
    plain = {"weight_decay": None, "tried": 0, "at_edge": ()}
    usual = {"tied_with_best": None, "final_loss": middle, **plain, **more}
    return replace(found.contestants[0], name=name, trials=trials, **usual)


def test_a_tie_of_yours_says_what_the_seeds_cannot_tell_and_gives_the_numbers() -> None:
    best, yours = (
        ended("sgd", 0.41, 0.413, tied_with_best=False),
        ended("yours", 0.7, 0.723, tied_with_best=True),
    )
    text = " ".join(reasons(comparison(best, yours, seeds=(0, 1)), noisy=False))
    assert text.count("Undecided") == 1
    assert "with 2 seeds the difference of sgd (0.413) from yours (0.723) is not significant" in text
    assert "Your optimizer ends" not in text
    assert "--seeds 5" in text
    assert "as good" not in text
    assert "nothing to gain" not in text


def test_where_nothing_is_decided_one_sentence_says_so_and_names_the_nearest() -> None:
    best = ended("sgd", 0.41, 0.413, tied_with_best=False)
    others = [ended(f"opt{n}", 0.7 + n, 0.8 + n, tied_with_best=True, state_bytes=1) for n in range(5)]
    yours = ended("yours", 9.0, 9.5, tied_with_best=True)
    found = comparison(replace(best, state_bytes=8), *others, yours, seeds=(0, 1))
    text = " ".join(reasons(found, noisy=False))
    assert "from yours (9.5), opt0 (0.8), opt1 (1.8) and 3 more is not significant" in text
    assert "smallest state" not in text, "their losses lie apart: memory is no advice across the gap"
    assert not any("significant" in sentence(row, found) for row in others)


def test_the_smallest_state_is_named_among_losses_that_overlap() -> None:
    best = ended("adam", 0.40, 0.50, 0.6, tied_with_best=False, state_bytes=8)
    near = ended("sgd", 0.45, 0.51, 0.61, tied_with_best=True, state_bytes=0)
    far = ended("sign_sgd", 4.0, 5.0, 6.0, tied_with_best=True, state_bytes=0)
    text = " ".join(reasons(comparison(best, far, near, seeds=(0, 1, 2)), noisy=False))
    assert "Of those whose losses overlap with it, sgd has the smallest state." in text


def test_what_diverged_at_other_rates_only_is_not_called_diverging() -> None:
    found = ended("sgd", 0.5, diverged_share=0.0)
    assert "diverged" not in sentence(found, comparison(found))
    third = replace(found, diverged_share=1 / 3)
    assert "diverged in 33% of its runs at this learning rate" in sentence(third, comparison(third))


def test_what_did_not_lower_the_loss_is_never_a_tie_and_comes_last() -> None:
    rows = ranked([ended("dog", 2.0, 2.1, 2.0), ended("yogi", 0.2, 1.9, 0.3)], 2.0)
    assert [(row.name, row.tied_with_best) for row in rows] == [("yogi", False), ("dog", False)]


def test_where_nothing_lowered_the_loss_nothing_is_compared() -> None:
    rows = ranked([ended("dog", 2.0, 2.0, 2.0), ended("cocob", 2.0, 2.0, 2.0)], 2.0)
    assert [row.tied_with_best for row in rows] == [None, None]


def test_a_rate_is_written_as_people_write_it() -> None:
    assert [written(rate) for rate in (320.0, 0.0316, 1e-5, 1.0, 3162.3)] == [
        "320",
        "0.032",
        "1e-05",
        "1",
        "3200",
    ]


def test_steps_and_the_passes_that_they_make_are_told_in_words() -> None:
    found = comparison(ended("sgd", 0.5))
    assert any(r.startswith("10 steps measure") for r in reasons(found, noisy=False))
    assert any(r.startswith("10 steps measure") for r in reasons(found, noisy=False, batches=1))
    passes = list(reasons(found, noisy=False, batches=4))
    assert any(r.startswith("10 steps, 2.5 passes over 4 batches, measure") for r in passes)
    assert any(r.startswith("1 step measures") for r in reasons(replace(found, steps=1), noisy=False))


def test_a_few_steps_more_are_not_called_once_the_steps() -> None:
    first, other = ended("sgd", 0.5, steps_to_target=160.0), ended("adam", 0.6, steps_to_target=167.0)
    assert sentence(other, comparison(first, other)).startswith("Reaches the target loss as fast")
    slower = ended("adam", 0.6, steps_to_target=320.0)
    assert "2.0 times the steps" in sentence(slower, comparison(first, slower))


def decayed(name: str, before: float, after: float) -> Contestant:
    """Constant up to the decay of the last fifth of 50 steps."""
    losses = (*[before] * 40, *[after] * 10)
    made = ended(name, after, after + 0.01)
    trials = tuple(replace(trial, losses=losses) for trial in made.trials)
    return replace(made, trials=trials, learning_rate=trials[0].learning_rate)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            (("adam", 0.9, 0.1), ("sgd", 0.5, 0.4)),
            "The decay flips the ranking: at step 40, before it, sgd had",
        ),
        (
            (("adam", 0.3, 0.1), ("sgd", 0.5, 0.4)),
            "Before the decay, at step 40, adam had the lowest training loss",
        ),
    ],
)
def test_one_run_with_a_decay_tells_both_rankings(
    rows: tuple[tuple[str, float, float], ...], said: str
) -> None:
    contestants = [decayed(*row) for row in rows]
    found = comparison(*contestants, schedule="wsd", steps=50, window=5)
    told = " ".join(reasons(found, noisy=False))
    assert said in told
    assert "decay" not in " ".join(reasons(replace(found, schedule="cosine"), noisy=False))


def test_how_the_settings_were_chosen_is_told_and_what_lies_at_the_edge() -> None:
    adam = ended("adam", 0.4, 0.5, tried=10, at_edge=("rate",))
    lion = ended("lion", 0.5, 0.6, tried=10, weight_decay=0.1, at_edge=("decay",))
    found = comparison(adam, lion, seeds=(0, 1), tuning_seeds=(2, 3))
    text = " ".join(reasons(found, noisy=False))
    assert "Each optimizer was tried at 10 settings: learning rates, and for lion weight decays." in text
    assert "The seeds 2, 3 chose among them; they judge none." in text
    assert "a better one may lie beyond: the learning rate of adam and the weight decay of lion." in text
    fewer = comparison(adam, replace(lion, tried=7, at_edge=("untried-decay",)), tuning_seeds=(0,))
    text = " ".join(reasons(fewer, noisy=False))
    assert "10 settings, lion at fewer" in text
    assert "The run that chose a setting judges it, too" in text
    assert "lion spent all settings on the learning rate: no weight decay but its default" in text
    assert "settings" not in " ".join(
        reasons(comparison(ended("dog", 0.5), ended("yours", 0.6)), noisy=False)
    )
