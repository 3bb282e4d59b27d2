"""Logarithms of probabilities that were given a name: the text after the edit, and what is left alone."""

from __future__ import annotations

import ast

import pytest

from gradscope.records import Finding, Severity, Source
from gradscope.remedies import lines
from gradscope.remedies.source_code import SourceCode

HEAD = "import jax\nimport jax.numpy as jnp\n\n\ndef loss_fn(params, z, y):\n"
SOFTMAX = "take `log_softmax` for the logarithm of a softmax"
SIGMOID = "take `log_sigmoid` for the logarithm of a sigmoid"


def edited(*body: str) -> dict[str, str]:
    """By what it is called: the last line after the edit of it."""
    text = HEAD + "".join(f"    {line}\n" for line in body)
    source = Source("model.py", len(text.splitlines()))
    finding = Finding("unstable-expression", Severity.NOTE, None, None, source, "", {}, "")
    found = {}
    for remedy in lines.edits(SourceCode("model.py", text), [finding]):
        ast.parse(remedy.text)
        found[remedy.what] = remedy.text.splitlines()[-1].strip()
    return found


@pytest.mark.parametrize(
    ("body", "what", "after"),
    [
        (
            ("p = jax.nn.softmax(z)", "return -jnp.sum(y * jnp.log(p))"),
            SOFTMAX,
            "return -jnp.sum(y * jax.nn.log_softmax(z))",
        ),
        (
            ("p = jax.nn.softmax(z, axis=-1)", "return -jnp.log(p[jnp.arange(4), y]).mean()"),
            SOFTMAX,
            "return -jax.nn.log_softmax(z, axis=-1)[jnp.arange(4), y].mean()",
        ),
        (
            (
                "p = jax.nn.softmax(z)",
                "picked = jnp.take_along_axis(p, y[:, None], axis=1)",
                "return -jnp.log(picked).mean()",
            ),
            SOFTMAX,
            "return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()",
        ),
        (
            ("p = jax.nn.sigmoid(z)", "return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))"),
            SIGMOID,
            "return -jnp.mean(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z))",
        ),
        (("return jnp.log1p(-jax.nn.sigmoid(z + y))",), SIGMOID, "return jax.nn.log_sigmoid(-(z + y))"),
        (
            ("return jnp.log(jax.nn.softmax(z)) + jnp.log(jax.nn.sigmoid(y))",),
            "take `log_softmax` and `log_sigmoid` for logarithms",
            "return jax.nn.log_softmax(z) + jax.nn.log_sigmoid(y)",
        ),
    ],
)
def test_the_logarithm_is_taken_in_one_step(body: tuple[str, ...], what: str, after: str) -> None:
    found = edited(*body)
    assert found[what] == after
    assert "keep the logarithm's argument at 1e-7 or more" not in found


@pytest.mark.parametrize(
    "body",
    [
        ("z = jax.nn.softmax(z)", "return jnp.log(z)"),
        ("p = jax.nn.softmax(z)", "p = p * y", "return jnp.log(p)"),
        ("p = jax.nn.softmax(z)", "z = z + 1", "return jnp.log(p)"),
        ("p = jax.nn.softmax(z)", "return jnp.log(1 - p)"),
        ("p = z / z.sum()", "return jnp.log(p)"),
    ],
    ids=["the same name", "two values", "the logits change", "1 - softmax", "by hand"],
)
def test_a_name_that_may_stand_for_something_else_is_left_alone(body: tuple[str, ...]) -> None:
    found = edited(*body)
    assert SOFTMAX not in found
    assert "keep the logarithm's argument at 1e-7 or more" in found
