"""Data loaders of other libraries, played by stand-ins with the same protocol, and Grain itself."""

import collections

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from gradscope.load.problem import Problem

W = {"w": np.ones(3, np.float32)}
X = np.arange(30, dtype=np.float32).reshape(10, 3)
Y = np.arange(10)


def problem(**given):
    return Problem(lambda params, batch: 0.0, W, **given)


def first(**given):
    return next(problem(**given).batches())


class Tensor:
    """As PyTorch's: no NumPy where there is a gradient, another device, or bfloat16."""

    def __init__(self, array, grad=False, device="cpu"):
        self.array, self.grad, self.device = array, grad, device

    def detach(self):
        return type(self)(self.array, False, self.device)

    def cpu(self):
        return type(self)(self.array, self.grad, "cpu")

    def __array__(self, dtype=None, copy=None):
        if self.grad or self.device != "cpu":
            raise RuntimeError("Can't call numpy() on Tensor")
        if self.array.dtype == ml_dtypes.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.array)

    def __dlpack__(self, **options):
        return jnp.asarray(self.array).__dlpack__(**options)

    def __dlpack_device__(self):
        return jnp.asarray(self.array).__dlpack_device__()


class Loader:
    """PyTorch's DataLoader: iterable, countable, without numbers."""

    def __init__(self, batches):
        self.batches, self.passes = batches, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.passes += 1
        return iter(self.batches)


class MapStyle:
    """PyTorch's Dataset: examples by number, no iteration."""

    def __init__(self, examples):
        self.examples, self.read = examples, []

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        self.read.append(index)
        return self.examples[index]


class HuggingFace(MapStyle):
    column_names = ("ids", "label")

    def __iter__(self):
        return iter(self.examples)


class HuggingFaceStream:
    column_names = None

    def iter(self, batch_size):
        for start in range(0, 256, batch_size):
            yield {"ids": [[start, 1]] * batch_size, "label": [0.5] * batch_size}

    def __iter__(self):
        raise AssertionError("rows, not batches")


class TensorFlow:
    """tf.data: elements are tensors of its own, unless NumPy is asked for."""

    def __iter__(self):
        raise AssertionError("tensors, not arrays")

    def as_numpy_iterator(self):
        return iter([{"x": X}, {"x": 2 * X}])


def examples():
    return [(Tensor(x), int(y)) for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize("name", ["batches", "data"])
def test_a_loader_is_iterated_and_its_tensors_become_arrays(name):
    loader = Loader([(Tensor(X, grad=True, device="cuda"), Tensor(Y)), (Tensor(X), Tensor(Y))])
    made = problem(**{name: loader})
    x, y = next(made.batches())
    assert isinstance(x, np.ndarray)
    assert np.array_equal(x, X)
    assert y.dtype.kind == "i"
    assert len(list(made.batches())) == 2
    assert loader.passes == 2, "a fresh pass each time"


def test_bfloat16_tensors_come_through_dlpack():
    batch = first(batch={"x": Tensor(X.astype(ml_dtypes.bfloat16))})
    assert batch["x"].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("name", ["batches", "data"])
def test_a_map_style_data_set_is_cut_into_batches_and_read_no_further(name):
    dataset = MapStyle(examples())
    made = problem(**{name: dataset, "batch_size": 4, "seed": 1})
    x, y = next(made.batches())
    assert (x.shape, y.shape) == ((4, 3), (4,))
    assert np.array_equal(x[:, 0], 3 * y)
    assert len(dataset.read) == 4
    assert made.notes[0] == "data has 10 rows, cut into batches of 4 after a shuffle."
    assert [b[0].shape for b in made.with_options(seed=1, batch_size=5).batches()] == [(5, 3)] * 2


@pytest.mark.parametrize("name", ["batches", "data"])
def test_rows_of_hugging_face_become_arrays(name):
    rows = [{"ids": [i, 2 * i], "label": i} for i in range(10)]
    batch = first(**{name: HuggingFace(rows)})
    assert batch["ids"].shape == (10, 2)
    assert np.array_equal(batch["ids"][:, 0], batch["label"])


def test_a_streamed_data_set_of_hugging_face_gives_batches_of_rows():
    batch = first(batches=HuggingFaceStream())
    assert batch["ids"].shape == (128, 2)
    assert batch["label"].dtype == jax.dtypes.canonicalize_dtype(np.float64)


@pytest.mark.parametrize("name", ["batches", "data"])
def test_tensorflow_is_asked_for_numpy(name):
    made = problem(**{name: TensorFlow()})
    assert [float(b["x"][0, 1]) for b in made.batches()] == [1.0, 2.0]


def test_a_function_may_return_any_of_them():
    for value in (Loader([X]), TensorFlow(), HuggingFaceStream(), MapStyle(examples())):
        batch = first(batches=lambda value=value: value)
        assert all(hasattr(leaf, "shape") for leaf in jax.tree_util.tree_leaves(batch))


def test_lists_of_numbers_are_arrays_and_lists_of_arrays_stay_lists():
    batch = first(batch={"ids": [[1, 2], [3, 4]], "ok": [True, False], "parts": [X, X]})
    assert (batch["ids"].shape, batch["ids"].dtype.kind, batch["ok"].dtype) == ((2, 2), "i", bool)
    assert len(batch["parts"]) == 2


def test_a_mapping_of_another_library_is_a_dict():
    batch = first(batch=collections.UserDict(ids=[[1, 2], [3, 4]]))
    assert batch["ids"].shape == (2, 2)


def test_ragged_lists_are_named(refused):
    error = refused(problem, batch={"ids": [[1, 2], [3]]})
    assert error.what == "batch['ids'] holds lists of different length."
    rows = MapStyle([{"ids": [1, 2]}, {"ids": [3]}])
    assert "data[i]['ids'] is (2,) and (1,)" in refused(problem, data=rows).what.replace(
        "(1,) and (2,)", "(2,) and (1,)"
    )


def test_examples_with_different_parts_and_text_are_refused(refused):
    assert "not alike" in refused(problem, data=MapStyle([(X[0], 1), X[0]])).what
    assert "['text'] is `'a'`" in refused(problem, data=MapStyle([{"text": "a"}])).what


def test_text_and_sparse_tensors_are_told_as_what_they_are(refused):
    class Sparse(Tensor):
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert Sparse layout tensor to numpy")

        def __dlpack__(self, **options):
            raise BufferError("Can't export tensors with layout other than strided")

    assert "layout" in refused(problem, batch=Sparse(X)).why
    text = np.array([b"a", b"b"], object)
    assert refused(problem, batch=text).why == "An object array usually comes from text."


def test_an_error_of_the_users_data_set_shows_his_frames(refused):
    class Broken(MapStyle):
        def __getitem__(self, index):
            raise KeyError("no such image")

    error = refused(problem, data=Broken([1]))
    assert "reading examples of data" in error.what
    assert "no such image" in error.what


def test_an_empty_data_set_is_refused(refused):
    assert refused(problem, data=MapStyle([])).slug == "empty-batch"


def test_pytrees_of_arrays_are_no_loaders():
    pair = first(data=(X, Y), batch_size=2)
    assert isinstance(pair, tuple)
    assert first(data=[X, Y], batch_size=2)[0].shape == (2, 3)
    assert first(batches=[X, X]).shape == (10, 3)


def test_grain_gives_batches_by_each_of_its_doors():
    grain = pytest.importorskip("grain.python")
    source = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    dataset = grain.MapDataset.source(source).shuffle(seed=0).batch(5)
    for made in (dataset, dataset.to_iter_dataset()):
        batch = first(batches=made)
        assert batch["x"].shape == (5, 3)
        assert np.array_equal(batch["x"][:, 0], 3 * batch["y"])
    assert first(data=grain.MapDataset.source(source), batch_size=4)["x"].shape == (4, 3)
    loader = grain.DataLoader(
        data_source=source,
        sampler=grain.IndexSampler(10, grain.NoSharding(), shuffle=True, num_epochs=1, seed=0),
        operations=[grain.Batch(5)],
    )
    assert first(batches=loader)["x"].shape == (5, 3)
