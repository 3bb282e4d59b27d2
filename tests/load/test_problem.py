"""Problems made in code: what is checked, what is noted, how batches are drawn."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem

W = {"w": np.ones(3, np.float32)}
X = np.ones((4, 3), np.float32)


def loss_fn(params, batch):
    return (batch * params["w"]).sum()


def problem(**given):
    return Problem(loss_fn, W, **given)


def test_one_batch_is_drawn_afresh_in_each_pass():
    made = problem(batch=X)
    assert [b is X for b in made.batches()] == [True]
    assert [b is X for b in made.batches()] == [True]


def test_without_a_batch_one_none_is_drawn():
    assert list(Problem(lambda params: 0.0, W).batches()) == [None]


def test_a_function_starts_a_fresh_pass_each_time():
    calls = []

    def batches():
        calls.append("started")
        yield from (X, 2 * X)

    made = problem(batches=batches)
    assert [float(b[0, 0]) for b in made.batches()] == [1.0, 2.0]
    assert calls == ["started"], "the batch drawn by the check is the first of the first pass"
    assert [float(b[0, 0]) for b in made.batches()] == [1.0, 2.0]


def test_an_endless_stream_is_read_only_as_far_as_it_is_drawn():
    drawn = []

    def batches():
        for number in itertools.count(1):
            drawn.append(number)
            yield number * X

    made = problem(batches=batches)
    assert drawn == [1]
    assert len(list(itertools.islice(made.batches(), 3))) == 3
    assert drawn == [1, 2, 3]


def test_an_iterator_is_remembered_for_the_next_pass():
    made = problem(batches=(n * X for n in (1, 2, 3)))
    for _ in range(2):
        assert [float(b[0, 0]) for b in made.batches()] == [1.0, 2.0, 3.0]


def test_two_passes_over_an_iterator_may_overlap():
    made = problem(batches=iter([X, 2 * X, 3 * X]))
    one, other = made.batches(), made.batches()
    assert [float(b[0, 0]) for b in (next(one), next(other), next(other))] == [1.0, 1.0, 2.0]
    assert [float(b[0, 0]) for b in one] == [2.0, 3.0]


def test_a_data_set_is_shuffled_by_rows_and_cut():
    data = {"x": np.arange(10.0, dtype=np.float32)[:, None], "y": np.arange(10)}
    made = Problem(lambda params, batch: 0.0, W, data=data, batch_size=4, seed=1)
    first, second = made.batches()
    assert first["x"].shape == (4, 1)
    assert np.array_equal(first["x"][:, 0], first["y"])
    assert not set(first["y"]) & set(second["y"])
    again = next(made.batches())
    assert np.array_equal(again["y"], first["y"])
    other = next(made.with_options(seed=2).batches())
    assert not np.array_equal(other["y"], first["y"])
    assert made.notes == ("data has 10 rows, cut into batches of 4 after a shuffle.",)


def test_the_default_batch_size_is_told_and_can_be_changed():
    made = problem(data=np.ones((300, 3), np.float32))
    assert [b.shape[0] for b in made.batches()] == [128, 128]
    assert "--batch-size changes it" in made.notes[0]
    smaller = made.with_options(seed=0, batch_size=50)
    assert [b.shape[0] for b in smaller.batches()] == [50] * 6
    assert len(smaller.notes) == 1


def test_a_batch_size_above_the_rows_takes_them_all():
    made = problem(data=X, batch_size=9)
    assert [b.shape for b in made.batches()] == [(4, 3)]
    assert made.notes == ("data has 4 rows, fewer than the batch size 9.",)


def test_a_batch_size_without_a_data_set_is_noted():
    assert "not used" in problem(batch=X).with_options(seed=0, batch_size=2).notes[-1]


def test_a_batch_size_of_zero_is_refused(refused):
    assert refused(problem, data=X, batch_size=0).what == "The batch size is 0."


def test_typed_keys_and_jax_arrays_can_be_rows():
    data = (jax.random.split(jax.random.key(0), 4), jnp.ones((4, 3)))
    keys, x = next(Problem(lambda params, batch: 0.0, W, data=data, batch_size=2).batches())
    assert (keys.shape, x.shape) == ((2,), (2, 3))


@pytest.mark.parametrize("data", [(np.ones((4, 3)), np.ones(3)), {"x": np.ones(4), "scale": 1.0}])
def test_a_data_set_without_a_common_axis_is_one_batch_unless_it_is_to_be_cut(data, refused):
    made = problem(data=data)
    assert made.has_one_batch
    (batch,) = made.batches()
    assert jax.tree.map(np.shape, batch) == jax.tree.map(np.shape, data)
    (note,) = [note for note in made.notes if "as one batch" in note]
    assert "has 4" in note
    error = refused(problem, data=data, batch_size=2)
    assert error.slug == "mismatched-rows"
    assert "4 rows" in error.details
    assert refused(made.with_options, seed=0, batch_size=2).slug == "mismatched-rows"


def test_more_than_one_source_of_batches_is_refused(refused):
    assert refused(problem, batch=X, data=X).what == "batch and data are given."


@pytest.mark.parametrize(
    "given",
    [
        {"batch": np.ones((0, 3))},
        {"batch": {"x": np.ones((0, 3)), "y": np.ones(0), "scale": 1.0}},
        {"batch": ()},
        {"batches": [()]},
        {"batches": [np.ones((0, 3))]},
        {"batches": []},
        {"batches": iter(())},
        {"batches": lambda: iter(())},
        {"data": np.ones((0, 3))},
        {"validation_batch": np.ones((0, 3)), "batch": X},
    ],
)
def test_an_empty_batch_is_refused(given, refused):
    assert refused(problem, **given).slug == "empty-batch"


def test_an_empty_batch_later_on_is_refused_when_it_is_drawn(refused):
    made = problem(batches=[X, np.ones((0, 3), np.float32)])
    assert refused(list, made.batches()).what.startswith("Batch 1 is empty")


def test_zero_sized_parts_beside_full_ones_are_accepted():
    assert problem(batch={"x": X, "edges": np.ones((0, 2), np.float32)}).notes == ()


@pytest.mark.parametrize("batches", [3, {"x": X}, "train.npz"])
def test_what_yields_no_batches_is_refused(batches, refused):
    assert refused(problem, batches=batches).slug == "no-batches"


def test_a_stream_that_fails_shows_the_users_error(refused):
    def batches():
        yield X
        raise OSError("disk")

    error = refused(list, problem(batches=batches).batches())
    assert "While drawing a batch, your code raised OSError: disk" in error.what
    assert 'raise OSError("disk")' in error.details


@pytest.mark.parametrize(
    ("leaf", "says"),
    [
        (np.array([[1, 2], [3]], dtype=object), "batch['x'] holds objects"),
        (np.array(["cat", "dog"]), "batch['x'] holds strings"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "batch['x'] holds dates"),
        ("text", "batch['x'] is `'text'`, of type str"),
        (object, "batch['x'] is"),
        (jax.ShapeDtypeStruct((3,), np.float32), "batch['x'] is"),
        (np.tanh, "batch['x'] is"),
    ],
)
def test_leaves_that_are_no_numbers_are_named(leaf, says, refused):
    error = refused(problem, batch={"x": leaf})
    assert error.what.startswith(says)
    assert error.slug == "not-numeric"
    params = refused(Problem, loss_fn, {"layers": [leaf]}, X)
    assert params.what.startswith("params['layers'][0]")


def test_ragged_rows_are_told_to_be_padded(refused):
    ragged = np.empty(2, dtype=object)
    ragged[:] = [[1, 2], [3]]
    assert "Pad" in refused(problem, batch=ragged).fix


@pytest.mark.parametrize(
    "params",
    [
        {"w": np.ones(3, np.int32)},
        {},
        (),
        {"w": np.ones(3, np.complex64)},
        {"w": True},
        {"k": jax.random.key(0)},
    ],
)
def test_params_without_a_floating_leaf_are_refused(params, refused):
    assert refused(Problem, loss_fn, params, X).slug == "no-floating-parameters"


def test_leaves_that_are_not_floating_pass_through():
    params = {
        "w": jnp.ones(3, jnp.bfloat16),
        "step": np.int32(3),
        "on": True,
        "key": jax.random.key(0),
        "phase": np.ones(2, np.complex64),
        "rate": 0.5,
        "empty": (),
        "none": None,
        "size0": np.ones((0, 3), np.float32),
    }
    made = Problem(loss_fn, params, X)
    assert made.params is params
    assert made.notes == ()


def test_a_nan_in_params_or_batch_is_no_bad_input():
    assert Problem(loss_fn, {"w": np.full(3, np.nan, np.float32)}, X * np.nan).notes == ()


def test_float64_leaves_are_noted_and_kept():
    params = {"w": np.ones(3)}
    made = Problem(loss_fn, params, (np.ones((4, 3)), np.ones(4), np.zeros(4, np.complex128)))
    assert made.params is params
    assert made.notes == (
        "params['w'] is float64; JAX makes it float32 (jax_enable_x64 is off).",
        "batch[0], batch[1] are float64; JAX makes them float32 (jax_enable_x64 is off).",
        "batch[2] is complex128; JAX makes it complex64 (jax_enable_x64 is off).",
    )


def test_float64_is_no_matter_with_x64():
    jax.config.update("jax_enable_x64", True)
    try:
        assert Problem(loss_fn, {"w": np.ones(3)}, np.ones((4, 3))).notes == ()
    finally:
        jax.config.update("jax_enable_x64", False)


def test_integers_that_jax_would_cut_off_are_noted():
    assert problem(batch=np.arange(4)).notes == ()
    assert "integers beyond 32 bits" in problem(batch=np.array([2**40, 1])).notes[0]


def test_arrays_of_other_libraries_become_numpy():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.ones((4, 3), np.float32)

    made = problem(batch=(Tensor(), Tensor()))
    assert all(isinstance(leaf, np.ndarray) for leaf in next(made.batches()))


def test_a_donated_array_is_refused(refused):
    w = jnp.ones(3)
    w.delete()
    assert "donated" in refused(Problem, loss_fn, {"w": w}, X).what


def test_keys_that_cannot_be_sorted_are_the_users_error(refused):
    assert "reading params" in refused(Problem, loss_fn, {1: X, "a": X}, X).what


def test_params_are_needed(refused):
    assert refused(Problem, loss_fn, None, X).slug == "no-params"


def test_a_loss_that_cannot_be_called_is_refused(refused):
    assert "cannot be called" in refused(Problem, 3.0, W, X).what


def test_an_optimizer_is_checked(refused):
    adam = optax.adam(1e-3)
    assert problem(batch=X, optimizer=adam).optimizer is adam
    assert refused(problem, batch=X, optimizer="adam").slug == "not-an-optimizer"


def noisy(params, batch, key):
    return loss_fn(params, batch) + jax.random.normal(key)


def test_the_key_depends_on_the_seed_and_the_draw():
    made, again = Problem(noisy, W, X, seed=3), Problem(noisy, W, X, seed=3)
    keys = [made.key(0), made.key(1), made.with_options(seed=4).key(0), again.key(0)]
    assert np.array_equal(keys[0], keys[3])
    assert len({tuple(map(int, k)) for k in keys}) == 3


@pytest.mark.parametrize("state", ["warn", "error"])
def test_typed_keys_are_used_where_raw_ones_are_not_wanted(state):
    with jax.legacy_prng_key(state):
        assert jnp.issubdtype(Problem(noisy, W, X).key().dtype, jax.dtypes.prng_key)


def test_no_key_is_made_for_a_loss_that_takes_none(monkeypatch):
    monkeypatch.setattr(jax.random, "PRNGKey", None)
    assert not problem(batch=X, seed=3).key(5).any()


def test_the_name_is_that_of_the_function():
    assert problem(batch=X).name == "loss_fn"
    assert Problem(jax.jit(loss_fn), W, X).name == "loss_fn"
    assert Problem(lambda params, batch: 0.0, W, X).name == "loss_fn"


def test_a_problem_can_be_traced():
    made = problem(batch=X)
    gradient = jax.grad(lambda p: made.loss(p, X, made.key())[0])(made.params)
    assert np.array_equal(gradient["w"], np.full(3, 4.0))


def test_between_two_batches_stdout_is_the_callers(capsys):
    """A pass that is not gone through to its end must leave no redirection behind."""

    def batches():
        print("of the user")
        yield np.ones(2, np.float32)
        yield np.ones(2, np.float32)

    problem = Problem(lambda params, x: jnp.sum(params * x), np.ones(2, np.float32), batches=batches)
    for _ in range(2):
        drawn = problem.batches()
        next(drawn)
        print("ours")
    found = capsys.readouterr()
    assert found.out == "ours\nours\n"
    assert set(found.err.splitlines()) == {"of the user"}
