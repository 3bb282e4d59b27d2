"""What is said of the ranking: no more than the seeds show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
    usual = {"tied_with_best": None, "final_loss": middle, **more}
    return replace(found.contestants[0], name=name, trials=trials, **usual)


def test_a_tie_of_yours_says_what_the_seeds_cannot_tell_and_gives_the_numbers() -> None:
    best, yours = (
        ended("sgd", 0.41, 0.413, tied_with_best=False),
        ended("yours", 0.7, 0.723, tied_with_best=True),
    )
    text = " ".join(reasons(comparison(best, yours, seeds=(0, 1)), noisy=False))
    assert "With 2 seeds there is no significant difference between yours (0.723) and sgd (0.413)" in text
    assert "--seeds 5" in text
    assert "as good" not in text
    assert "nothing to gain" not in text


def test_a_tie_in_the_table_is_not_called_as_good() -> None:
    best, other = (
        ended("sgd", 0.41, 0.413, tied_with_best=False),
        ended("adam", 0.7, 0.723, tied_with_best=True),
    )
    assert sentence(other, comparison(best, other, seeds=(0, 1))).startswith(
        "No significant difference from the first with 2"
    )


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
