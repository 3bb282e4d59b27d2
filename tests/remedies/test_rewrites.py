"""Edits of an axis, a sign, a reshape, a rule of one's own, a key: what the text is afterwards."""

from __future__ import annotations

import pytest

from gradscope.records import Finding, Number
from gradscope.remedies.lines import edits
from gradscope.remedies.source_code import SourceCode
from tests.remedies.test_edits import HEAD, code, finding

RULED = """
@jax.custom_vjp
def bend(x):
    return jnp.tanh(x)

bend.defvjp(forward, backward)
other.defvjp(forward, backward)
"""
DRAWN = """
def init(key):
    w = jax.random.normal(key, (3, 4))
    v = jax.random.normal(key, (4, 1))
    u = jax.random.uniform(another, (4, 1))
    return w, v, u
"""
LOOPED = """
def init(key):
    for i in range(6):
        k1, k2 = jax.random.split(key)
        w = jax.random.normal(k1, (3, 4))
"""
SUMMED = """
def aggregate(nodes, senders, receivers):
    return jax.ops.segment_sum(nodes[senders], senders, 10)
"""
HEADS = """
def split(x):
    return x.reshape(batch, HEADS, length, D // HEADS)

def merge(x):
    return x.reshape(batch, length, D)
"""


def after(text: str, rule: str, line: int, **evidence: Number) -> dict[str, str]:
    found: list[Finding] = [finding(rule, line, **evidence)]  # type: ignore[arg-type]
    return {each.what: each.text.removeprefix(HEAD) for each in edits(code(text), found)}


def test_a_wrong_rule_is_left_out() -> None:
    (text,) = after(RULED, "wrong-gradient", 5, function="bend").values()
    assert "bend = bend.__wrapped__\nother.defvjp(forward, backward)\n" in text


@pytest.mark.parametrize(
    ("line", "edited"),
    [
        ("p = jax.nn.log_softmax(x, axis=0)", "p = jax.nn.log_softmax(x, axis=-1)"),
        ("p = jax.nn.softmax(x, 1)", "p = jax.nn.softmax(x, -1)"),
        ("p = jax.nn.softmax(x)", None),
        ("p = jax.nn.softmax(x, axis=-1)", None),
    ],
)
def test_a_softmax_runs_along_the_last_axis(line: str, edited: str | None) -> None:
    for rule in ("batch-leak", "wrong-attention-axis"):
        found = after(f"{line}\n", rule, 1)
        assert list(found.values()) == ([] if edited is None else [f"{edited}\n"])


def test_a_likelihood_gets_its_minus() -> None:
    text = "def loss(p, y):\n    log_p = jax.nn.log_softmax(p)\n    return jnp.mean(log_p) + 1\n"
    found = after(text, "mismatched-output", 3, classes=3)
    assert "    return -(jnp.mean(log_p) + 1)\n" in found["put a minus before the loss"]
    assert "put a minus before the loss" not in after(text, "mismatched-output", 3, classes=3, largest=0.2)


def test_labels_of_two_signs_become_probabilities() -> None:
    text = "loss = optax.sigmoid_binary_cross_entropy(logits, y[:, 0]).mean()\n"
    found = after(text, "mismatched-output", 1, smallest=-1.0, largest=1.0, outside=0.5)
    assert "(logits, (y[:, 0] + 1) / 2).mean()" in found["bring the labels to 0 and 1"]
    assert after(text, "mismatched-output", 1, smallest=0.0, largest=4.0, outside=0.5) == {}


def test_heads_are_split_and_merged_with_their_axes_exchanged() -> None:
    found = after(HEADS, "reshape-for-transpose", 3)
    split, merge = (
        "x.reshape(batch, length, HEADS, D // HEADS).swapaxes(1, 2)",
        "x.swapaxes(1, 2).reshape(batch, length, D)",
    )
    assert [split in text and merge in text for text in found.values()] == [True, False, False]
    text = "rows = series.reshape(n, m)\n"
    assert list(after(text, "reshape-for-transpose", 1).values()) == ["rows = series.swapaxes(0, 1)\n"]


def test_messages_go_to_another_argument() -> None:
    (text,) = after(SUMMED, "returned-messages", 3).values()
    assert "segment_sum(nodes[senders], receivers, 10)" in text


def test_each_draw_gets_a_key_of_its_own() -> None:
    (text,) = after(DRAWN, "copied-initialization", 4).values()
    assert "w = jax.random.normal(key, (3, 4))" in text
    assert "v = jax.random.normal(jax.random.fold_in(key, 1), (4, 1))" in text
    assert "uniform(another," in text
    (looped,) = after(LOOPED, "copied-initialization", 4).values()
    assert "jax.random.split(jax.random.fold_in(key, i))" in looped


def test_every_edit_is_a_file_that_parses() -> None:
    for text, rule, evidence in (
        (RULED, "wrong-gradient", {"function": "bend"}),
        (HEADS, "reshape-for-transpose", {}),
        (SUMMED, "returned-messages", {}),
    ):
        for changed in after(text, rule, 3, **evidence).values():
            SourceCode("m.py", changed)
