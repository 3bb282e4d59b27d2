"""`--params`: every format and spelling gives the same parameters; what does not fit is told leaf by leaf."""

import gc
import io
import pickle
import shutil
import warnings
import zipfile

import equinox as eqx
import flax.serialization
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
from flax import nnx

from gradscope.load.model.checkpoints.loading import with_checkpoint
from gradscope.load.model.checkpoints.names import steps_of_path, steps_of_text, text_of
from gradscope.load.problem import Problem
from tests.load.conftest import load

BATCH = np.ones((4, 3), np.float32)


def tree(scale=0.0, dtype=jnp.float32):
    return {
        "layers": [{"w": jnp.full((3, 2), scale + i, dtype), "b": jnp.zeros(2, dtype)} for i in range(2)],
        "head": {"w": scale + jnp.arange(2, dtype=dtype)},
    }


def problem(params=None):
    return Problem(lambda params, batch: 0.0, tree() if params is None else params, BATCH)


def filled(path, params=None):
    return with_checkpoint(problem(params), str(path))


def equal(one, other):
    jax.tree_util.tree_map(np.testing.assert_array_equal, one, other)
    return jax.tree_util.tree_structure(one) == jax.tree_util.tree_structure(other)


def flat(params, join):
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    keys = [[str(getattr(s, "key", getattr(s, "idx", None))) for s in path] for path, _ in leaves]
    return {join(steps): np.asarray(leaf) for steps, (_, leaf) in zip(keys, leaves, strict=True)}


def save_orbax(path, saved):
    with warnings.catch_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
        warnings.simplefilter("ignore")
        checkpointer.save(path, saved)


SPELLINGS = {
    "slashes": "/".join,
    "dots": ".".join,
    "brackets": lambda steps: "".join(f"[{step!r}]" for step in steps),
    "a leading params": lambda steps: "params/" + "/".join(steps),
    "boxed values": lambda steps: ".".join(steps) + ".value",
    "deep inside": lambda steps: ".".join(("state", "target", "params", *steps)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", ["npz", "compressed", "safetensors"])
def test_names_are_read_in_every_spelling(spelling, kind, tmp_path):
    arrays = flat(tree(5.0), SPELLINGS[spelling])
    path = tmp_path / "c.npz"
    if kind == "safetensors":
        path = tmp_path / "c.safetensors"
        safetensors.numpy.save_file(arrays, path)
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(path, **arrays)
    made = filled(path)
    assert equal(made.params, tree(5.0))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(made.params))


WRITERS = {
    "c.msgpack": lambda path: path.write_bytes(flax.serialization.to_bytes(tree(5.0))),
    "c.eqx": lambda path: eqx.tree_serialise_leaves(path, tree(5.0)),
    "c.npz": lambda path: np.savez(path, *jax.tree_util.tree_leaves(tree(5.0))),
    "orbax": lambda path: save_orbax(path, tree(5.0)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_read(name, tmp_path):
    WRITERS[name](tmp_path / name)
    assert equal(filled(tmp_path / name).params, tree(5.0))


def training_state():
    return {
        "step": np.int32(7),
        "ema_params": tree(1.0),
        "params": tree(5.0),
        "opt_state": {"0": {"mu": tree(2.0), "nu": tree(3.0), "count": np.int32(7)}},
    }


@pytest.mark.parametrize("name", ["state.msgpack", "orbax"])
def test_of_a_training_state_the_params_are_taken(name, tmp_path):
    if name == "orbax":
        save_orbax(tmp_path / name, training_state())
    else:
        (tmp_path / name).write_bytes(flax.serialization.to_bytes(training_state()))
    made = filled(tmp_path / name)
    assert equal(made.params, tree(5.0))
    assert made.notes[0].endswith(f"{name}, under `params`.")
    for word in ("ema_params", "opt_state", "step"):
        assert word in made.notes[1]


def test_the_variables_of_linen_take_the_params_alone_or_with_the_rest(tmp_path):
    saved = {"params": tree(5.0), "batch_stats": {"mean": jnp.ones(3)}}
    (tmp_path / "c.msgpack").write_bytes(flax.serialization.to_bytes(saved))
    assert equal(filled(tmp_path / "c.msgpack").params, tree(5.0))
    whole = filled(tmp_path / "c.msgpack", {"params": tree(), "batch_stats": {"mean": jnp.zeros(3)}})
    assert equal(whole.initial, saved)
    assert equal(whole.params, problem(saved).params)
    (tmp_path / "p.msgpack").write_bytes(flax.serialization.to_bytes(tree(5.0)))
    wrapped = filled(tmp_path / "p.msgpack", {"params": tree()})
    assert equal(wrapped.initial, {"params": tree(5.0)})


def test_the_last_step_of_a_run_is_taken_and_told(tmp_path):
    for step in (90, 1000):
        save_orbax(tmp_path / "run" / str(step) / "default", tree(float(step)))
    made = filled(tmp_path / "run")
    assert equal(made.params, tree(1000.0))
    assert "1000/default is used" in made.notes[0]
    assert equal(filled(tmp_path / "run" / "90").params, tree(90.0))


def test_names_with_slashes_of_haiku_are_those_of_a_flat_file(tmp_path):
    params = {"mlp/~/linear_0": {"w": jnp.zeros((3, 2))}}
    np.savez(tmp_path / "c.npz", **{"mlp/~/linear_0/w": np.ones((3, 2), np.float32)})
    assert equal(filled(tmp_path / "c.npz", params).params, {"mlp/~/linear_0": {"w": jnp.ones((3, 2))}})


def test_dtypes_are_cast_to_those_of_the_model_and_told(tmp_path):
    np.savez(tmp_path / "c.npz", **flat(tree(5.0), ".".join) | {"head.w": np.array([5.0, 6.0])})
    made = filled(tmp_path / "c.npz", tree(dtype=jnp.bfloat16))
    assert equal(made.params, tree(5.0, jnp.bfloat16))
    assert any("from float64 to bfloat16" in note and "head.w" in note for note in made.notes)
    assert any(
        "from float32 to bfloat16" in note and "and" not in note.split(" are")[0] for note in made.notes
    )


@pytest.mark.parametrize("name", ["c.eqx", "c.npz", "c.safetensors", "c.msgpack", "orbax"])
def test_bfloat16_comes_back_whatever_numpy_makes_of_it(name, tmp_path):
    saved, path = tree(5.0, jnp.bfloat16), tmp_path / name
    if name == "orbax":
        save_orbax(path, saved)
    elif name == "c.msgpack":
        path.write_bytes(flax.serialization.to_bytes(saved))
    elif name == "c.eqx":
        eqx.tree_serialise_leaves(path, saved)
    elif name == "c.npz":
        np.savez(path, **flat(saved, ".".join))
    else:
        safetensors.numpy.save_file(flat(saved, ".".join), path)
    assert equal(filled(path, tree(dtype=jnp.bfloat16)).params, saved)
    assert equal(filled(path, tree()).params, tree(5.0))


class Net(eqx.Module):
    layers: list
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout
    activation: object

    def __init__(self, key):
        self.layers = [eqx.nn.Linear(3, 2, key=k) for k in jax.random.split(key)]
        self.norm = eqx.nn.BatchNorm(2, "batch", mode="batch")
        self.drop = eqx.nn.Dropout(0.5)
        self.activation = jax.nn.relu


def test_an_equinox_model_takes_its_leaves_in_order_with_its_state(tmp_path):
    other = eqx.nn.make_with_state(Net)(jax.random.PRNGKey(1))
    eqx.tree_serialise_leaves(tmp_path / "c.eqx", other)
    given = eqx.nn.make_with_state(Net)(jax.random.PRNGKey(0))
    made = with_checkpoint(Problem(lambda model, state, batch: 0.0, given, BATCH), str(tmp_path / "c.eqx"))
    expected = Problem(lambda model, state, batch: 0.0, other, BATCH)
    assert equal(made.params, expected.params)
    eqx.tree_serialise_leaves(tmp_path / "model.eqx", other[0])
    alone = Problem(lambda model, batch: 0.0, given[0], BATCH)
    assert equal(with_checkpoint(alone, str(tmp_path / "model.eqx")).params, expected.params)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs)])
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.layers[0](x), use_running_average=True)


def nnx_loss(model, batch):
    return model(batch).sum()


def value(made):
    return float(made.loss(made.params, BATCH, None)[0])


@pytest.mark.parametrize("kind", ["npz", "orbax"])
def test_an_nnx_model_takes_its_state_too(kind, tmp_path):
    other = Block(nnx.Rngs(1))
    other.norm.mean[...] = jnp.full(3, 7.0)
    state = nnx.to_pure_dict(nnx.state(other, nnx.Not(nnx.RngState)))
    path = tmp_path / "c.npz"
    if kind == "npz":
        np.savez(path, **flat(state, ".".join))
    else:
        path = tmp_path / "orbax"
        save_orbax(path, jax.tree_util.tree_map(lambda leaf: {"value": leaf}, state))
    expected = value(Problem(nnx_loss, other, BATCH))
    start = Problem(nnx_loss, Block(nnx.Rngs(0)), BATCH)
    assert abs(value(start) - expected) > 1
    assert value(with_checkpoint(start, str(path))) == pytest.approx(expected)


def test_shared_modules_stay_shared(tmp_path):
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 3, rngs=rngs)
            self.second = self.first

    start = Problem(lambda model, batch: model.second(batch).sum(), Tied(nnx.Rngs(0)), BATCH)
    names = {"first.kernel": np.ones((3, 3), np.float32), "first.bias": np.zeros(3, np.float32)}
    np.savez(tmp_path / "c.npz", **names)
    made = with_checkpoint(start, str(tmp_path / "c.npz"))
    assert jax.tree_util.tree_structure(made.params) == jax.tree_util.tree_structure(start.params)
    assert value(made) == 36.0


def test_integers_of_a_program_and_keys_stay_as_they_are(tmp_path):
    params = {"heads": 4, "w": jnp.zeros(2), "key": jax.random.key(0), "ids": jnp.arange(3)}
    np.savez(tmp_path / "c.npz", w=np.ones(2, np.float32), heads=np.array(8))
    made = filled(tmp_path / "c.npz", params)
    assert made.params["heads"] == 4
    assert made.params["w"].tolist() == [1.0, 1.0]
    assert any("does not hold ids: it stays initial" in note for note in made.notes)


def test_what_is_not_finite_in_a_checkpoint_is_kept(tmp_path):
    np.savez(tmp_path / "c.npz", w=np.array([np.nan, np.inf], np.float32))
    assert np.isnan(filled(tmp_path / "c.npz", {"w": jnp.zeros(2)}).params["w"][0])


def test_a_mismatch_lists_what_is_missing_unexpected_and_of_another_shape(tmp_path, refused):
    arrays = flat(tree(), ".".join)
    arrays["layers.0.kernel"] = arrays.pop("layers.0.w")
    arrays["head.w"] = np.zeros(5, np.float32)
    np.savez(tmp_path / "c.npz", **arrays)
    error = refused(filled, tmp_path / "c.npz")
    assert error.slug == "checkpoint-mismatch"
    assert "1 missing, 1 not in the model, 1 of another shape" in error.what
    assert error.details.splitlines() == [
        "missing: layers[0].w  float32[3, 2]  (near: layers[0].kernel)",
        "not in the model: layers[0].kernel",
        "another shape: head.w: [2] here, [5] there",
    ]


def test_a_checkpoint_of_something_else_is_refused(tmp_path, refused):
    np.savez(tmp_path / "c.npz", a=np.zeros(3), b=np.zeros(4))
    error = refused(filled, tmp_path / "c.npz")
    assert "5 missing, 2 not in the model" in error.what


def test_whole_numbers_are_not_taken_for_weights(tmp_path, refused):
    np.savez(tmp_path / "c.npz", w=np.zeros(2, np.int8))
    assert "int8" in refused(filled, tmp_path / "c.npz", {"w": jnp.zeros(2)}).what


def test_a_wrong_number_of_nameless_arrays_is_refused(tmp_path, refused):
    eqx.tree_serialise_leaves(tmp_path / "c.eqx", [jnp.zeros(2)])
    assert "holds 1 arrays; the model has 5" in refused(filled, tmp_path / "c.eqx").what
    eqx.tree_serialise_leaves(tmp_path / "d.eqx", [jnp.zeros(2)] * 5)
    error = refused(filled, tmp_path / "d.eqx")
    assert "layers[0].w: [3, 2] here, [2] there" in error.details


def objects_after_arrays(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(2))
        np.save(file, np.array([{}], object), allow_pickle=True)


def objects_in_npz(path):
    data = io.BytesIO()
    np.save(data, np.array([{}], object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", data.getvalue())


def torch_like(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))


PICKLES = {
    "c.eqx": objects_after_arrays,
    "c.npz": objects_in_npz,
    "c.safetensors": lambda path: path.write_bytes(pickle.dumps({"w": 1})),
    "c.msgpack": lambda path: path.write_bytes(pickle.dumps({"w": 1}, protocol=2)),
    "c.pkl": lambda path: path.write_bytes(pickle.dumps({"w": 1}, protocol=0)),
    "model.npz": torch_like,
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_in_disguise_is_refused(name, tmp_path, refused):
    PICKLES[name](tmp_path / name)
    assert refused(filled, tmp_path / name).slug == "pickle-refused"


@pytest.mark.parametrize("name", [*(n for n in WRITERS if n != "orbax"), "c.safetensors"])
def test_a_truncated_checkpoint_is_refused(name, tmp_path, refused):
    path = tmp_path / name
    WRITERS.get(name, lambda p: safetensors.numpy.save_file(flat(tree(), ".".join), p))(path)
    whole = path.read_bytes()
    for kept in (0, len(whole) // 3, len(whole) - 2):
        path.write_bytes(whole[:kept])
        assert refused(filled, path).slug == "corrupt-file", kept


# TensorStore drops the errors of the reads that it gave up, now and then after the first was raised.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_orbax_folder_is_refused(tmp_path, refused):
    save_orbax(tmp_path / "c", tree())
    shutil.rmtree(tmp_path / "c" / "d", ignore_errors=True)
    for file in (tmp_path / "c").rglob("*"):
        if file.is_file() and file.name != "_METADATA":
            file.write_bytes(file.read_bytes()[:3])
    assert refused(filled, tmp_path / "c").slug == "corrupt-file"
    # What Orbax leaves behind complains when it is collected: here, and not in a later test.
    gc.collect()
    (tmp_path / "empty").mkdir()
    assert "is not an Orbax checkpoint" in refused(filled, tmp_path / "empty").what


@pytest.mark.parametrize("content", [b"\x89HDF\r\n", b"hello, this is text", b"\x00" * 40])
def test_another_kind_of_file_is_refused_with_the_kinds_that_are_read(content, tmp_path, refused):
    (tmp_path / "c.bin").write_bytes(content)
    error = refused(filled, tmp_path / "c.bin")
    assert error.slug == "unknown-file-format"
    assert "Orbax" in error.why


def test_names_are_the_same_words_in_all_spellings():
    words = ("layers", "0", "w")
    for text in ("layers[0].w", "layers/0/w", "['layers'][0]['w']", "layers.0.w.value", "/layers/0/w"):
        assert steps_of_text(text) == words
    assert steps_of_path(("layers", 0, "w")) == words
    assert text_of(words) == "layers[0].w"
    assert text_of(()) == "params"


FILE = """
import jax, numpy as np
batch = np.ones((4, 3), np.float32)
def init(key):
    return {"w": jax.random.normal(key, (3,))}
def loss_fn(params, batch):
    return (batch @ params["w"]).sum()
"""


def test_a_target_is_loaded_with_a_checkpoint_and_keeps_it_for_other_seeds(tmp_path, write):
    np.savez(tmp_path / "c.npz", w=np.array([1.0, 2.0, 3.0], np.float32))
    made = load(write(FILE), params="c.npz")
    assert value(made) == 24.0
    assert value(made.reseeded(5)) == 24.0


def test_a_missing_checkpoint_names_the_nearest_file(tmp_path, write, refused):
    np.savez(tmp_path / "step9.npz", w=np.ones(3))
    assert refused(load, write(FILE), params="step8.npz").fix == "Did you mean `step9.npz`?"


def test_float8_is_kept_apart_from_other_bytes(tmp_path):
    saved = {"w": np.ones(2, ml_dtypes.float8_e4m3fn)}
    np.savez(tmp_path / "c.npz", **saved)
    made = filled(tmp_path / "c.npz", {"w": jnp.zeros(2, jnp.float8_e4m3fn)})
    assert made.params["w"].tolist() == [1.0, 1.0]
