"""The operands that equations really get, against the same program run in plain Python."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.trace import jaxprs
from gradscope.verification.rules.capture import capture, operands
from gradscope.verification.rules.find import RuleCall, find_rule_calls


@jax.custom_jvp
def marked(x: Any) -> Any:
    return jnp.sin(x) + 1


marked.defjvp(lambda p, t: (marked(*p), t[0]))


def plain(x: float) -> float:
    return float(np.sin(x)) + 1


def captured(function: Any, *args: Any, rows: int = 4) -> list[tuple[RuleCall, int, list[float]]]:
    """For each place: how often it ran, and the first element of the operand at each visit that was kept."""
    body = jaxprs.body_of(jax.make_jaxpr(function)(*args))
    places = find_rule_calls(body, len(args))
    chosen = {place.path: (place.eqn, place.looped) for place in places}
    kept = capture(body, [jnp.asarray(arg) for arg in args], chosen, rows)
    found = []
    for place in places:
        values = [float(visit[0]) for visit in operands(kept[place.path], place.eqn, rows)]
        found.append((place, int(kept[place.path]["visits"]), values))
    return found


def test_each_call_of_one_function_is_a_place_of_its_own() -> None:
    inner = jax.jit(lambda x: marked(x) * 2)
    found = captured(lambda x: inner(x) + inner(x + 1.0), 0.5)
    assert [(visits, values) for _, visits, values in found] == [(1, [0.5]), (1, [1.5])]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_short_loop_is_kept_whole(reverse: bool) -> None:
    def loop(x: Any) -> Any:
        return lax.scan(lambda h, _: (marked(h), None), x, None, length=3, reverse=reverse)[0]

    ((place, visits, values),) = captured(loop, 0.5)
    first = plain(0.5)
    assert place.looped
    assert visits == 3
    assert values == pytest.approx([0.5, first, plain(first)])


def test_of_a_long_loop_an_even_draw_is_kept() -> None:
    def loop(x: Any) -> Any:
        return lax.scan(lambda h, i: (h + 0 * marked(i), None), x, jnp.arange(4000.0))[0]

    ((_, visits, values),) = captured(loop, 0.5, rows=64)
    assert visits == 4000
    assert len(set(values)) == 64
    assert all(value == int(value) and 0 <= value < 4000 for value in values)
    quarters = np.bincount((np.array(values) // 1000).astype(int), minlength=4)
    assert quarters.min() >= 8


def test_a_loop_in_a_loop_counts_all_its_turns() -> None:
    def loop(x: Any) -> Any:
        def outer(h: Any, _: Any) -> Any:
            return lax.fori_loop(0, 3, lambda i, h: marked(h), h), None

        return lax.scan(outer, x, None, length=2)[0]

    ((_, visits, values),) = captured(loop, 0.5, rows=6)
    expected = [0.5]
    for _ in range(5):
        expected.append(plain(expected[-1]))
    assert visits == 6
    assert values == pytest.approx(expected)


def test_a_while_loop_and_a_branch_tell_whether_they_ran() -> None:
    def loop(x: Any, stop: Any) -> Any:
        h = lax.while_loop(lambda h: h < stop, lambda h: h + marked(h), x)
        return lax.cond(stop > 1, marked, jnp.cos, h)

    (_, turns, values), (_, taken, _) = captured(loop, 0.5, 2.5)
    assert (turns, taken) == (2, 1)
    assert values == pytest.approx([0.5, 0.5 + plain(0.5)])
    (_, turns, values), (_, taken, _) = captured(loop, 0.5, 0.1)
    assert (turns, taken, values) == (0, 0, [])


def test_a_key_comes_back_as_a_key() -> None:
    @jax.custom_jvp
    def noisy(x: Any, key: Any) -> Any:
        return x + jax.random.normal(key, x.shape)

    noisy.defjvp(lambda p, t: (noisy(*p), t[0]))
    key = jax.random.key(3)
    body = jaxprs.body_of(
        jax.make_jaxpr(lambda x: jnp.sum(noisy(x, jax.random.fold_in(key, 1))))(jnp.ones(2))
    )
    (place,) = find_rule_calls(body, 1)
    kept = capture(body, [jnp.ones(2)], {place.path: (place.eqn, False)}, 1)
    ((_, found),) = operands(kept[place.path], place.eqn, 1)
    assert jax.random.key_data(found).tolist() == jax.random.key_data(jax.random.fold_in(key, 1)).tolist()


def reached(function: Any, *args: Any, weights: int = 1) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    (place,) = find_rule_calls(jaxprs.body_of(jax.make_jaxpr(function)(*args)), weights)
    return place.reached, place.needed


def test_only_arguments_that_a_parameter_reaches_are_asked_for() -> None:
    pair = jax.custom_jvp(lambda a, b: a * b)
    pair.defjvp(lambda p, t: (pair(*p), t[0]))
    assert reached(lambda w, x: pair(w, x), 1.0, 2.0)[0] == (True, False)
    assert reached(lambda w, x: pair(lax.stop_gradient(w), x), 1.0, 2.0)[0] == (False, False)
    assert reached(lambda w, x: pair(x, jnp.round(w)), 1.0, 2.0)[0] == (False, True)

    def late(w: Any, x: Any) -> Any:
        """The weight comes round to the second argument only in the third turn."""
        return lax.fori_loop(0, 9, lambda i, c: (w, c[0], c[1], pair(x, c[2])), (x, x, x, x))[3]

    assert reached(late, 1.0, 2.0)[0] == (False, True)


def test_only_results_that_the_loss_has_a_gradient_from_are_asked_for() -> None:
    two = jax.custom_jvp(lambda x: (x, 2 * x))
    two.defjvp(lambda p, t: (two(*p), (t[0], 2 * t[0])))
    assert reached(lambda w: two(w)[0], 1.0)[1] == (True, False)
    assert reached(lambda w: (lambda a, b: (a + lax.stop_gradient(b), b))(*two(w)), 1.0)[1] == (True, False)

    def late(w: Any) -> Any:
        """The second result reaches the loss only after two more turns."""

        def turn(c: Any, _: Any) -> Any:
            a, b = two(c[0])
            return (a, b, c[1]), None

        return lax.scan(turn, (w, w, w), None, length=5)[0][2]

    assert reached(late, 1.0)[1] == (True, True)
