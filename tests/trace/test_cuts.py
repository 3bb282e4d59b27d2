"""Of the cuts on the paths of a leaf, those are told that would each let a gradient through alone."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.ndimage import map_coordinates

from gradscope.load.problem import Problem
from gradscope.records import Cut, Severity
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer

IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)
WHERE = np.linspace(0.5, 5.5, 12).reshape(2, 6).astype(np.float32)
SHIFT = {"shift": jnp.array([0.3, -0.4])}


def cuts(loss: Any, params: Any, batch: Any) -> dict[str, list[Cut]]:
    program = Tracer(Problem(loss, params, batch)).trace(batch)
    return {leaf.name: list(found) for leaf, found in zip(program.leaves, program.cuts, strict=True)}


def warp(p: Any, image: Any) -> Any:
    return map_coordinates(image, list(WHERE + p["shift"][:, None]), order=1).astype(jnp.float32).mean()


def warp_rows(p: Any, image: Any) -> Any:
    def step(total: Any, where: Any) -> Any:
        return total + map_coordinates(image, list(where + p["shift"]), order=1).astype(jnp.float32), None

    return jax.jit(lambda: lax.scan(step, 0.0, WHERE.T)[0])()


@pytest.mark.parametrize("loss", [warp, warp_rows])
def test_a_result_in_the_integers_of_the_input_is_told_with_the_input(loss: Any) -> None:
    (cut,) = cuts(loss, SHIFT, IMAGE)["shift"]
    assert (cut.op, cut.into, cut.like) == ("round", "uint8", ("batch",))
    (finding,) = check_loss(loss, SHIFT, IMAGE).findings
    assert (finding.rule, finding.severity) == ("blocked-gradient", Severity.ERROR)
    assert "`batch.astype(jnp.float32)`" in finding.remedy
    assert "to uint8, the dtype that `batch` has, inside a library function" in finding.message


@pytest.mark.parametrize("loss", [warp, warp_rows])
def test_a_float_image_is_healthy(loss: Any) -> None:
    assert check_loss(loss, SHIFT, IMAGE.astype(np.float32)).findings == ()


def test_a_write_into_an_array_of_integers_is_one_of_the_kind() -> None:
    def loss(p: Any, b: Any) -> Any:
        return (b.at[1:3].set(p["shift"]) * 0.5).mean()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (cut,) = cuts(loss, SHIFT, np.arange(5, dtype=np.int32))["shift"]
    assert (cut.op, cut.into, cut.like) == ("convert_element_type", "int32", ("batch",))


def test_a_cast_of_the_users_own_is_no_matter_of_the_input() -> None:
    def loss(p: Any, b: Any) -> Any:
        return (jnp.round(p["shift"]).astype(b.dtype) * b[:2]).astype(jnp.float32).mean()

    (cut,) = cuts(loss, SHIFT, np.arange(5, dtype=np.int32))["shift"]
    assert (cut.op, cut.into, cut.like) == ("round", "", ())


def test_an_index_alone_is_told_by_all_its_cuts() -> None:
    def loss(p: Any, b: Any) -> Any:
        return b[jnp.floor(p["shift"]).astype(int), 0].mean()

    assert [cut.op for cut in cuts(loss, SHIFT, IMAGE.astype(np.float32))["shift"]] == ["floor"]


BOOK = {"book": np.eye(4, 3, dtype=np.float32), "w": np.ones((3, 3), np.float32)}
ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def straight_through(p: Any, b: Any, *, early: bool) -> Any:
    z = b @ p["w"]
    code = p["book"][jnp.argmin(((z[:, None] - p["book"]) ** 2).sum(-1), axis=1)]
    quantized = z + lax.stop_gradient(code - z)
    pull = ((code if early else quantized) - lax.stop_gradient(z)) ** 2
    return ((quantized - b) ** 2).mean() + pull.mean()


def test_a_codebook_behind_its_straight_through_line_is_blocked_by_that_line() -> None:
    def loss(p: Any, b: Any) -> Any:
        return straight_through(p, b, early=False)

    (cut,) = cuts(loss, BOOK, ROWS)["book"]
    assert (cut.op, cut.straight_through) == ("stop_gradient", True)
    assert "code - z" in str(cut.source and cut.source.text)
    assert [f.severity for f in check_loss(loss, BOOK, ROWS).findings] == [Severity.ERROR]


def test_a_codebook_with_a_loss_before_that_line_learns() -> None:
    assert check_loss(lambda p, b: straight_through(p, b, early=True), BOOK, ROWS).findings == ()


def test_a_codebook_that_is_moved_outside_of_the_gradient_is_frozen_on_purpose() -> None:
    def loss(p: Any, b: Any) -> Any:
        commitment = b @ p["w"] - lax.stop_gradient(p["book"])[jnp.arange(5) % 4]
        return straight_through(p, b, early=False) + (commitment**2).mean()

    assert [f.severity for f in check_loss(loss, BOOK, ROWS).findings] == [Severity.NOTE]
