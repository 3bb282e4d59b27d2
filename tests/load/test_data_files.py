"""`--data`: what is read from files, how little of them, and what is refused."""

import gzip
import io
import itertools
import pickle
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from gradscope.load.data import batches
from gradscope.load.data.files import source
from gradscope.load.data.files.open_files import open_data
from gradscope.load.data.files.readers import MEMBER_BLOCK
from gradscope.load.data.files.record import Record
from gradscope.records.options import LoadOptions

X = np.arange(30, dtype=np.float32).reshape(10, 3)
Y = np.arange(10)


def opened(*paths, **options):
    return open_data(LoadOptions(data=tuple(map(str, paths)), **options))


def drawn(*paths, **options):
    return list(opened(*paths, **options).start())


def rows_fit(batch):
    """Rows of x and y that belong together: y is the row's number."""
    return np.array_equal(batch["x"][:, 0], 3 * np.asarray(batch["y"]))


def csv(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def table(rows=10, **more):
    return pa.table({"a": np.arange(rows) * 1.0, "b": np.arange(rows), "label": np.arange(rows) % 3, **more})


WRITERS = {
    "x.npz": lambda path: np.savez(path, x=X, y=Y),
    "compressed.npz": lambda path: np.savez_compressed(path, x=X, y=Y),
    "fortran.npz": lambda path: np.savez_compressed(path, x=np.asfortranarray(X), y=Y),
    "x.safetensors": lambda path: safetensors.numpy.save_file({"x": X, "y": Y}, path),
    "x.parquet": lambda path: pq.write_table(pa.table({"x": list(X), "y": Y}), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_gives_each_row_once_and_rows_stay_together(name, tmp_path):
    WRITERS[name](tmp_path / name)
    made = drawn(tmp_path / name, batch_size=4, seed=1)
    assert [batch["x"].shape for batch in made] == [(4, 3), (4, 3)]
    assert all(rows_fit(batch) for batch in made)
    seen = np.concatenate([batch["y"] for batch in made])
    assert len(set(seen.tolist())) == 8
    assert (made[0]["x"].dtype, made[0]["y"].dtype.kind) == (np.float32, "i")
    again = drawn(tmp_path / name, batch_size=4, seed=1)
    assert np.array_equal(again[1]["y"], made[1]["y"])
    other = drawn(tmp_path / name, batch_size=4, seed=2)
    assert not np.array_equal(other[0]["y"], made[0]["y"])


def test_a_batch_reads_as_a_tuple_as_a_dict_and_by_attribute(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    (batch,) = drawn(tmp_path / "d.npz")
    x, y = batch
    assert x is batch["x"]
    assert x is batch.x
    assert x is batch[0]
    assert {**batch}.keys() == {"x", "y"}
    assert ("x" in batch, "z" in batch, batch.get("z")) == (True, False, None)
    doubled = jax.jit(lambda b: jax.tree_util.tree_map(lambda a: 2 * a, b))(batch)
    assert isinstance(doubled, Record)
    assert np.array_equal(doubled.y, 2 * y)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(batch)[0]]
    assert paths == ["['x']", "['y']"]
    with pytest.raises(KeyError):
        batch["z"]
    with pytest.raises(AttributeError, match="it has x, y"):
        _ = batch.z
    assert rows_fit(pickle.loads(pickle.dumps(batch)))


def test_one_npy_file_is_the_batch_itself_and_several_have_the_names_of_the_files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    (batch,) = drawn(tmp_path / "x.npy")
    assert isinstance(batch, np.ndarray)
    assert batch.shape == (10, 3)
    (both,) = drawn(tmp_path / "x.npy", tmp_path / "y.npy")
    assert both.keys() == ("x", "y")
    assert rows_fit(both)


def test_x_and_y_choose_columns_and_give_a_pair(tmp_path):
    path = csv(tmp_path, "a,b,name,label\n" + "".join(f"{i}.5,{i},n{i},{i % 3}\n" for i in range(10)))
    ((x, y),) = drawn(path, x=("a", "b"), y=("label",))
    assert x.shape == (10, 2)
    assert np.array_equal(x[:, 0], x[:, 1] + 0.5)
    assert (y.dtype.kind, sorted(set(y.tolist()))) == ("i", [0, 1, 2])
    (only,) = drawn(path, x=("b",))
    assert (only.shape, only.dtype.kind) == ((10,), "i")


def test_y_alone_makes_all_other_columns_the_inputs(tmp_path):
    pq.write_table(table(), tmp_path / "t.parquet")
    ((x, y),) = drawn(tmp_path / "t.parquet", y=("label",))
    assert (x.shape, y.shape) == ((10, 2), (10,))


def test_several_inputs_that_are_no_columns_keep_their_names(tmp_path):
    np.savez(tmp_path / "d.npz", ids=X, mask=X > 3, y=Y)
    (batch,) = drawn(tmp_path / "d.npz", x=("ids", "mask"), y=("y",))
    assert batch.x.keys() == ("ids", "mask")
    assert batch.x.mask.dtype == bool


def test_text_gives_the_float_of_jax_and_parquet_its_own(tmp_path):
    (text,) = drawn(csv(tmp_path, "a,b\n1.5,1\n2.5,2\n"))
    assert (text.a.dtype, text.b.dtype) == (jax.dtypes.canonicalize_dtype(np.float64), np.int64)
    pq.write_table(table(h=np.zeros(10, np.float16), ok=np.ones(10, bool)), tmp_path / "t.parquet")
    (batch,) = drawn(tmp_path / "t.parquet")
    assert [batch[n].dtype.name for n in ("a", "b", "h", "ok")] == ["float64", "int64", "float16", "bool"]


def test_missing_values_become_nan_and_are_told(tmp_path):
    made = opened(csv(tmp_path, "a,b\n1,1\n,2\n3,3\nNA,4\n"))
    (batch,) = made.start()
    assert np.isnan(batch.a).sum() == 2
    assert batch.b.dtype == np.int64
    (note,) = made.notes
    assert "`a` of " in note
    assert "2 of 4 values are missing; they are NaN" in note


def test_missing_values_further_down_a_column_of_whole_numbers_are_refused(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(source, "POOL", 1)
    pq.write_table(pa.table({"n": pa.array([1, 2, 3, None])}), tmp_path / "t.parquet", row_group_size=2)
    for seed in range(4):
        made = opened(tmp_path / "t.parquet", batch_size=2, seed=seed)
        if next(made.start())["n"].dtype.kind == "i":
            break
    error = refused(lambda: list(made.start()))
    assert "is int64 at first and float64 later" in error.what


def test_a_table_without_names_gets_some_and_says_so(tmp_path):
    made = opened(csv(tmp_path, "1,2.5,0\n3,4.5,1\n"), y=("f2",))
    ((x, y),) = made.start()
    assert (x.shape, sorted(y.tolist())) == ((2, 2), [0, 1])
    assert "f0 to f2" in made.notes[0]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_seen(delimiter, tmp_path):
    (batch,) = drawn(csv(tmp_path, f"a{delimiter}b\n1{delimiter}2\n"))
    assert (batch.a.tolist(), batch.b.tolist()) == ([1], [2])


def test_a_zipped_table_is_read(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (batch,) = drawn(tmp_path / "t.csv.gz")
    assert batch.keys() == ("a", "b")


def test_lists_in_a_column_become_axes(tmp_path):
    images = pa.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]] * 4)
    pq.write_table(pa.table({"image": images}), tmp_path / "t.parquet")
    (batch,) = drawn(tmp_path / "t.parquet")
    assert batch.image.shape == (4, 3, 2)
    assert batch.image[0, 2].tolist() == [5.0, 6.0]


def test_shards_follow_each_other_and_other_names_stand_side_by_side(tmp_path):
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", x=X[i * 5 : i * 5 + 5], y=Y[i * 5 : i * 5 + 5])
        pq.write_table(table(5), tmp_path / f"{i}.parquet")
    made = drawn(tmp_path / "0.npz", tmp_path / "1.npz", batch_size=5)
    assert all(rows_fit(batch) for batch in made)
    assert sorted(np.concatenate([b.y for b in made]).tolist()) == list(range(10))
    assert [b.a.shape for b in drawn(tmp_path / "0.parquet", tmp_path / "1.parquet")] == [(10,)]
    np.save(tmp_path / "x.npy", X)
    beside = drawn(tmp_path / "x.npy", csv(tmp_path, "y\n" + "\n".join(map(str, Y))), batch_size=3)
    assert len(beside) == 3
    assert all(rows_fit(batch) for batch in beside)


def test_bfloat16_is_read_from_safetensors(tmp_path):
    safetensors.numpy.save_file({"x": X.astype(ml_dtypes.bfloat16)}, tmp_path / "d.safetensors")
    (batch,) = drawn(tmp_path / "d.safetensors")
    assert batch.x.dtype == jnp.bfloat16


def test_a_large_npy_file_stays_on_the_disk(tmp_path):
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (1 << 30, 1024)).flush()  # 4 TB, sparse
    first = next(opened(path, batch_size=8).start())
    assert first.shape == (8, 1024)


def test_a_compressed_archive_is_read_no_further_than_it_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "POOL", 1)
    rows = 5 * MEMBER_BLOCK // 4
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((rows, 1), np.float32))
    read = []
    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting(zipfile.ZipExtFile.read, read))
    made = opened(tmp_path / "d.npz", batch_size=8)
    assert next(made.start()).x.shape == (8, 1)
    assert sum(read) < 3 * MEMBER_BLOCK
    assert "shuffled in blocks of" in made.notes[0]


def counting(read, lengths):
    def counted(self, n=-1):
        found = read(self, n)
        lengths.append(len(found))
        return found

    return counted


def test_a_long_table_is_shuffled_in_blocks_and_no_row_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "POOL", 1000)
    pq.write_table(table(1000), tmp_path / "t.parquet", row_group_size=70)
    made = drawn(tmp_path / "t.parquet", batch_size=32, seed=3)
    seen = np.concatenate([batch.b for batch in made])
    assert len(seen) == 1000 // 32 * 32
    assert len(set(seen.tolist())) == len(seen)
    assert abs(np.corrcoef(np.arange(len(seen)), seen)[0, 1]) < 0.5, (
        "row groups come in an order of their own"
    )


@pytest.mark.parametrize("count", [1000, 997])
def test_rows_beyond_what_is_permuted_come_once_each(count, monkeypatch):
    monkeypatch.setattr(batches, "PERMUTED", 10)
    seen = np.concatenate(list(batches.shuffled(count, 1, 10)))
    assert len(set(seen.tolist())) == len(seen) == count // 10 * 10


def test_sorted_labels_are_mixed_in_a_batch(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((1000, 2)), y=np.repeat(np.arange(10), 100))
    first = next(opened(tmp_path / "d.npz").start())
    assert len(set(first.y.tolist())) == 10


OBJECTS = np.array([{"a": 1}, None], object)


def pickled_npz(path):
    with zipfile.ZipFile(path, "w") as archive:
        data = io.BytesIO()
        np.lib.format.write_array(data, OBJECTS, allow_pickle=True)
        archive.writestr("x.npy", data.getvalue())


def torch_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))


PICKLES = {
    "x.npy": lambda path: np.save(path, OBJECTS, allow_pickle=True),
    "x.npz": pickled_npz,
    "torch.npz": torch_file,
    "data.pkl": lambda path: path.write_bytes(pickle.dumps([1])),
    "renamed.dat": lambda path: path.write_bytes(pickle.dumps([1])),
    "renamed.npy": lambda path: path.write_bytes(pickle.dumps([1])),
    "renamed.safetensors": lambda path: path.write_bytes(pickle.dumps([1])),
    "weights.pt": torch_file,
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_is_refused_unread(name, tmp_path, refused):
    PICKLES[name](tmp_path / name)
    error = refused(opened, tmp_path / name)
    assert error.slug == "pickle-refused"
    assert "which gradscope does not read" in error.what


@pytest.mark.parametrize("name", [*WRITERS, "x.npy"])
def test_a_truncated_file_is_refused(name, tmp_path, refused):
    path = tmp_path / name
    WRITERS.get(name, lambda p: np.save(p, X))(path)
    whole = path.read_bytes()
    for kept in (0, 5, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:kept])
        error = refused(lambda: drawn(path))
        assert error.slug == "corrupt-file", (kept, error)


def test_a_member_that_is_damaged_inside_is_refused(tmp_path, refused):
    np.savez_compressed(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(1000, 3)))
    whole = bytearray((tmp_path / "d.npz").read_bytes())
    whole[2000:2100] = bytes(100)
    (tmp_path / "d.npz").write_bytes(whole)
    assert refused(lambda: drawn(tmp_path / "d.npz")).slug == "corrupt-file"


TEXTS = {
    "strings": ("a,b\n1,x\n2,y\n", "not-numeric", "`b` of"),
    "dates": ("a,b\n1,2020-01-01\n", "not-numeric", "`b` of"),
    "no rows": ("a,b\n", "empty-batch", "has no rows"),
    "twice": ("a,a\n1,2\n", "no-such-column", "two columns called `a`"),
    "ragged": ("a,b\n1,2\n3\n", "corrupt-file", "cannot be read as a table"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_table_that_cannot_be_used_is_refused(case, tmp_path, refused):
    text, slug, said = TEXTS[case]
    error = refused(lambda: drawn(csv(tmp_path, text)))
    assert error.slug == slug
    assert said in error.what


def test_a_column_that_is_not_chosen_may_hold_anything(tmp_path):
    ((x, _),) = drawn(csv(tmp_path, "a,b,c\n1,x,2\n2,y,3\n"), x=("a",), y=("c",))
    assert sorted(x.tolist()) == [1, 2]


def test_lists_of_different_length_are_refused(tmp_path, refused):
    pq.write_table(pa.table({"ids": [[1, 2], [3]]}), tmp_path / "t.parquet")
    assert "different length" in refused(lambda: drawn(tmp_path / "t.parquet")).what


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path, refused):
    np.savez(tmp_path / "d.npz", images=X, labels=Y)
    error = refused(opened, tmp_path / "d.npz", x=("image",), y=("labels",))
    assert "has no `image`" in error.what
    assert error.fix == "Did you mean `images`?"


def test_files_that_do_not_fit_together_are_refused(tmp_path, refused):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    np.savez(tmp_path / "b.npz", x=X, z=Y)
    np.save(tmp_path / "z.npy", Y[:3])
    (tmp_path / "t.csv").write_text("t\n1\n2\n")
    assert refused(opened, tmp_path / "a.npz", tmp_path / "b.npz").slug == "mixed-data-files"
    assert refused(opened, tmp_path / "a.npz", tmp_path / "z.npy").slug == "mismatched-rows"
    assert refused(lambda: drawn(tmp_path / "z.npy", tmp_path / "t.csv")).slug == "mismatched-rows"


def test_strings_and_scalars_in_arrays_are_refused_only_where_they_are_used(tmp_path, refused):
    np.savez(tmp_path / "d.npz", x=X, names=np.array(["a"] * 10), scale=1.0)
    assert refused(opened, tmp_path / "d.npz").slug == "not-numeric"
    assert refused(opened, tmp_path / "d.npz", x=("x", "scale")).slug == "mismatched-rows"
    assert drawn(tmp_path / "d.npz", x=("x",))[0].shape == (10, 3)


@pytest.mark.parametrize("name", ["x.h5", "x.txt", "x"])
def test_another_kind_of_file_is_refused_with_the_kinds_that_are_read(name, tmp_path, refused):
    (tmp_path / name).write_text("1 2 3")
    error = refused(opened, tmp_path / name)
    assert error.slug == "unknown-file-format"
    assert ".npz" in error.why


def test_a_missing_file_and_a_folder_are_refused(tmp_path, refused):
    np.save(tmp_path / "x.npy", X)
    assert refused(opened, tmp_path / "xs.npy").fix == "Did you mean `x.npy`?"
    assert "is a folder" in refused(opened, tmp_path).what
    assert "no folder" in refused(opened, tmp_path / "nowhere/x.npy").why


def test_a_library_that_is_not_installed_is_named_with_its_extra(tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = refused(opened, csv(tmp_path, "a\n1\n"))
    assert error.slug == "missing-package"
    assert "pip install 'gradscope-jax[data]'" in error.fix


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_pass_that_is_not_drawn_to_its_end_says_nothing_when_the_process_ends(name, tmp_path):
    many = table(300_000)
    pq.write_table(many, tmp_path / name) if name.endswith("parquet") else pa_csv.write_csv(
        many, tmp_path / name
    )
    code = (
        "from gradscope.load.data.files import open_files, source\n"
        "from gradscope.records.options import LoadOptions\n"
        "source.POOL = 1\n"
        f"rows = open_files.open_data(LoadOptions(data=({str(tmp_path / name)!r},))).start()\n"
        "print(next(rows).a.shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(128,)\n", "")


def test_batches_of_a_pass_are_read_as_they_are_drawn(tmp_path):
    np.save(tmp_path / "x.npy", X)
    made = opened(tmp_path / "x.npy", batch_size=2)
    assert len(list(itertools.islice(made.start(), 2))) == 2
    assert len(list(made.start())) == 5
