"""Operations by layer, against closed forms and against XLA's own count."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.workload.programs import account_of, compiler_count, ones, products

M, K, N, OUT = 6, 5, 4, 3


def network(params: Any, x: Any) -> Any:
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return jnp.mean((hidden @ params["second"]["w"]) ** 2)


PARAMS = {"first": {"w": ones(K, N), "b": ones(N)}, "second": {"w": ones(N, OUT)}}


def test_a_product_is_two_operations_for_each_pair_and_backward_twice_as_many() -> None:
    found = account_of(network, PARAMS, ones(M, K))
    # The input of the first layer needs no gradient.
    assert products(found, "first") == (2 * M * K * N, 2 * M * K * N)
    assert products(found, "second") == (2 * M * N * OUT, 2 * 2 * M * N * OUT)


def test_what_is_done_element_by_element_is_one_for_each_element() -> None:
    found = account_of(network, PARAMS, ones(M, K))
    forward = found.by_layer["first"].forward
    assert forward.kinds["elementwise"] >= 2 * M * N  # + b, tanh
    assert forward.transcendental == M * N
    assert found.by_layer["second"].forward.kinds["reductions"] == M * OUT - 1


def test_the_derivative_of_tanh_is_counted_with_its_square() -> None:
    def loss(params: Any, x: Any) -> Any:
        return jnp.sum(jnp.tanh(x @ params["w"]))

    found = account_of(loss, {"w": ones(K, N)}, ones(M, K)).by_layer["w"]
    derivative = found.forward.kinds["elementwise"] + found.backward.kinds["elementwise"] - M * N
    # On JAX 0.12 (1 - t) (1 + t) is one primitive, on 0.10 it is written out.
    assert derivative == 4 * M * N


def test_bytes_are_those_of_operands_and_results() -> None:
    found = account_of(lambda params, x: jnp.sum(x @ params["w"]), {"w": ones(K, N)}, ones(M, K))
    product, result = 4 * (M * K + K * N + M * N), 4 * (M * N + 1)
    assert found.by_layer["w"].forward.size == product + result


def test_what_leads_to_no_loss_is_not_counted() -> None:
    def loss(params: Any, x: Any) -> Any:
        return network(params, x), jnp.sum(jnp.exp(x @ x.T))

    plain, more = (account_of(each, PARAMS, ones(M, K)) for each in (network, loss))
    assert more.written.operations == plain.written.operations


@pytest.mark.parametrize(("padding", "pairs"), [("VALID", (8 - 2) * 3), ("SAME", 8 * 3 - 2)])
def test_a_convolution_counts_the_pairs_that_meet_no_padding(padding: str, pairs: int) -> None:
    def loss(params: Any, x: Any) -> Any:
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jnp.sum(
            lax.conv_general_dilated(x, params["w"], (1, 1), padding, dimension_numbers=dimensions)
        )

    found = account_of(loss, {"w": ones(3, 3, 2, 5)}, ones(4, 8, 8, 2))
    assert products(found, "w") == (2 * 4 * 2 * 5 * pairs**2,) * 2


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (2, 2), "padding": "SAME"},
        {"window_strides": (1, 1), "padding": [(2, 1), (0, 3)], "rhs_dilation": (2, 1)},
        {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2},
        {"window_strides": (1, 1), "padding": [(2, 2), (1, 2)], "lhs_dilation": (2, 2)},
    ],
)
def test_convolutions_of_every_form_cost_what_xla_says(options: dict[str, Any]) -> None:
    groups = options.get("feature_group_count", 1)

    def loss(params: Any, x: Any) -> Any:
        return jnp.sum(
            lax.conv_general_dilated(x, params["w"], dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)
        )

    params, x = {"w": ones(3, 3, 4 // groups, 6)}, ones(2, 7, 9, 4)
    found, theirs = account_of(loss, params, x), compiler_count(loss, params, x)
    assert found.written.operations == pytest.approx(theirs["flops"], rel=0.02)


def test_attention_costs_four_products_of_length_squared() -> None:
    rows, length, width = 2, 16, 8

    def loss(params: Any, x: Any) -> Any:
        q = x @ params["q"]
        weights = jax.nn.softmax(q @ jnp.swapaxes(x, 1, 2))
        return jnp.mean((weights @ x) ** 2)

    found = account_of(loss, {"q": ones(width, width)}, ones(rows, length, width))
    projection, square = 2 * rows * length * width * width, 2 * rows * length * length * width
    forward, backward = products(found, "q")
    assert forward == projection + 2 * square
    # Of the two products over length squared one factor is data: one gradient each.
    assert backward == projection + 2 * square


def test_a_loop_costs_its_steps_and_xla_counts_one() -> None:
    steps = 7

    def loss(params: Any, x: Any) -> Any:
        def step(h: Any, _: Any) -> Any:
            return jnp.tanh(h @ params["w"]), None

        return jnp.mean(lax.scan(step, x, None, length=steps)[0] ** 2)

    params, x = {"w": ones(K, K)}, ones(M, K)
    found, theirs = account_of(loss, params, x), compiler_count(loss, params, x)
    assert products(found, "w")[0] == steps * 2 * M * K * K
    counted = found.written.operations - found.written.transcendental
    assert counted == pytest.approx(theirs["flops"], rel=0.1)


def test_of_branches_the_longest_counts_and_an_open_loop_once() -> None:
    def loss(params: Any, x: Any) -> Any:
        h = lax.cond(x[0, 0] > 0, lambda v: v @ params["w"] @ params["w"], lambda v: v @ params["w"], x)
        steps = lax.while_loop(lambda n: n < 3, lambda n: n + 1, jnp.int32(x.sum()))
        return jnp.mean(h) * steps

    found = account_of(loss, {"w": ones(K, K)}, ones(M, K))
    assert products(found, "w")[0] == 2 * 2 * M * K * K
    assert len(found.opened) == 1


def test_a_checkpoint_computes_its_forward_pass_again() -> None:
    def loss(block: Any) -> Any:
        return lambda params, x: jnp.mean(block(params["w"], x) ** 2)

    def block(w: Any, x: Any) -> Any:
        return jnp.tanh(jnp.tanh(x @ w) @ w)

    plain, again = (
        products(account_of(loss(each), {"w": ones(K, K)}, ones(M, K)), "w")[1]
        for each in (block, jax.checkpoint(block))
    )
    assert again > plain


def test_what_is_not_known_is_named() -> None:
    found = account_of(
        lambda params, x: jnp.sum(jnp.abs(jnp.fft.fft(x @ params["w"])) ** 2), {"w": ones(K, N)}, ones(M, K)
    )
    assert found.uncounted == ("fft",)


class Word:
    """A 32-bit number that counts what is done to it."""

    done = 0

    def __init__(self, value: int) -> None:
        self.value = value & 0xFFFFFFFF

    def _made(self, value: int, operations: int = 1) -> Word:
        Word.done += operations
        return Word(value)

    def __add__(self, other: Word) -> Word:
        return self._made(self.value + other.value)

    def __xor__(self, other: Word) -> Word:
        return self._made(self.value ^ other.value)

    def rotated(self, by: int) -> Word:
        return self._made(self.value << by | self.value >> (32 - by), 3)


def threefry(key: tuple[int, int], at: tuple[int, int]) -> tuple[int, int]:
    """Salmon et al. 2011, with 20 rounds."""
    keys = [Word(key[0]), Word(key[1]), Word(key[0] ^ key[1] ^ 0x1BD11BDA)]
    rotations = (13, 15, 26, 6), (17, 29, 16, 24)
    x, y = Word(at[0]) + keys[0], Word(at[1]) + keys[1]
    for turn in range(5):
        for rotation in rotations[turn % 2]:
            x = x + y
            y = x ^ y.rotated(rotation)
        x = x + keys[(turn + 1) % 3]
        y = y + keys[(turn + 2) % 3] + Word(turn + 1)
    return x.value, y.value


def test_a_random_word_costs_the_rounds_of_threefry() -> None:
    Word.done = 0
    assert threefry((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)  # of the paper's own tests
    one_word = Word.done

    def loss(params: Any, key: Any) -> Any:
        return jnp.sum(params["w"] * jax.random.bits(key, (512,)).astype(jnp.float32))

    found = account_of(loss, {"w": ones(512)}, jax.random.key(0))
    assert found.by_layer["w"].forward.kinds["random numbers"] == 512 * one_word


def test_lines_add_up_to_the_whole_and_name_the_users_function() -> None:
    def loss(params: Any, x: Any) -> Any:
        return jnp.mean(jax.nn.relu(x @ params["w"]))

    found = account_of(loss, {"w": ones(K, N)}, ones(M, K))
    lines = found.line_costs()
    whole = sum(both.operations for both in found.by_layer.values())
    assert sum(row.forward + row.backward for row in lines) == pytest.approx(whole)
    assert {"dot_general", "relu"} <= {row.primitive for row in lines}
    assert lines[0].source is not None
    assert "relu(x @" in lines[0].source.text


def test_a_called_function_costs_what_it_does_written_out() -> None:
    plain = account_of(network, PARAMS, ones(M, K))
    called = account_of(jax.jit(network), PARAMS, ones(M, K))
    assert called.written.operations == plain.written.operations
    assert products(called, "second") == products(plain, "second")


def test_what_a_cached_function_does_belongs_to_each_layer_that_calls_it() -> None:
    def loss(params: Any, x: Any) -> Any:
        for layer in params["layers"]:
            x = jax.nn.relu(x @ layer["w"])
        return jnp.mean(x)

    found = account_of(loss, {"layers": [{"w": ones(K, K)} for _ in range(3)]}, ones(M, K))
    first, second = (found.by_layer[f"layers[{number}]"] for number in (0, 1))
    assert first.forward.kinds == second.forward.kinds
    assert first.forward.kinds["elementwise"] >= M * K


def test_integer_leaves_and_shared_weights_are_counted() -> None:
    def loss(params: Any, tokens: Any) -> Any:
        h = params["table"][tokens]
        return jnp.mean(jax.nn.logsumexp(h @ params["table"].T, axis=-1))

    params = {"table": ones(11, K), "steps": np.int32(3)}
    found = account_of(loss, params, np.zeros((M,), np.int32))
    assert products(found, "table")[0] == 2 * M * K * 11
