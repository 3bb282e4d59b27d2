"""What counts as help: from every seed, by a tenth, and in a loss that can be compared."""

from __future__ import annotations

import math

import pytest

from gradscope.records import Effect, SeedEnds, TriedRemedy
from gradscope.remedies import verdict


def ends(start: float, *found: float) -> SeedEnds:
    return SeedEnds((start,) * len(found), found)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (ends(1.0, 0.9, 0.9), ends(1.0, 0.5, 0.5), Effect.HELPS),
        (ends(1.0, 0.9, 0.9), ends(1.0, 0.5, 0.9), Effect.NO_GAIN),
        (ends(1.0, 0.9), ends(1.0, 0.95), Effect.NO_GAIN),
        (ends(1.0, 0.5), ends(1.0, 0.9), Effect.WORSE),
        (ends(1.0, math.inf), ends(1.0, 0.5), Effect.HELPS),
        (ends(1.0, math.nan), ends(1.0, 1e9), Effect.NO_GAIN),
        (ends(1.0, math.inf), ends(1.0, math.inf), Effect.NO_GAIN),
        (ends(1.0, 0.5), ends(1.0, math.inf), Effect.WORSE),
        # It diverges, too, if not as far.
        (ends(1.0, 100.0), ends(1.0, 20.0), Effect.NO_GAIN),
        # A start that happens to be near 0 makes no gain of a small difference.
        (ends(0.01, -3.0), ends(0.01, -3.1), Effect.NO_GAIN),
        (ends(0.0, 0.0), ends(0.0, 0.0), Effect.NO_GAIN),
        # From absurd weights the loss falls far, and ends far above where the remedy begins.
        (ends(1e12, 1e10, 1e10), ends(2.0, 0.2, 0.2), Effect.HELPS),
        (ends(1e12, 1e10, 1e10), ends(2.0, 1.99, 1.99), Effect.HELPS),
        # It ends below where the remedy begins: what it took away counts.
        (ends(100.0, 1.0), ends(2.0, 0.5), Effect.NO_GAIN),
        (ends(1.0, 0.001), ends(1.0, 0.0), Effect.NO_GAIN),
    ],
)
def test_effects(before: SeedEnds, after: SeedEnds, effect: Effect) -> None:
    assert verdict.effect(before, after, changes_loss=False, cured=True) is effect


def test_what_cures_at_no_cost_trains_and_ends_nowhere_clearly_higher() -> None:
    assert verdict.harmless(ends(1.0, 0.5, 0.5), ends(1.0, 0.5, 0.55))
    assert not verdict.harmless(ends(1.0, 0.5, 0.5), ends(1.0, 0.5, 0.65))
    assert not verdict.harmless(ends(1.0, 0.95), ends(1.0, 0.95))


def tried(what: str, after: SeedEnds, diff: str = "--- a\n+++ b\n-x\n+y\n") -> TriedRemedy:
    return TriedRemedy(what, Effect.HELPS, after, diff=diff)


def test_the_lower_end_is_first_whatever_the_loss_began_at() -> None:
    high, low = tried("high", ends(1e6, 0.5)), tried("low", ends(2.0, 0.1))
    assert verdict.ranked([high, low], ends(2.0, 1.5)) == (low, high)


def test_of_equal_ends_fewer_changed_lines_are_first_and_context_does_not_count() -> None:
    long = tried("long", ends(1.0, 0.1), "--- a\n+++ b\n-x\n+y\n-z\n+w\n")
    short = tried("short", ends(1.0, 0.1001), "--- a\n+++ b\n a\n b\n c\n-x\n+y\n d\n")
    assert verdict.ranked([long, short], ends(1.0, 0.9)) == (short, long)
