"""Opens the files of `--data` as a source of batches, in the form that `--x` and `--y` select."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from gradscope.errors import GradscopeError
from gradscope.load.data.files.readers import (
    DataFile,
    Picked,
    npy_file,
    npz_file,
    require_numeric,
    require_rows,
    safetensors_file,
)
from gradscope.load.data.files.selection import ColumnSelection, select
from gradscope.load.data.files.source import FileRows
from gradscope.load.data.files.tables import csv_file, parquet_file
from gradscope.load.message_text import listed
from gradscope.load.paths import refuse_pickle, require_file
from gradscope.records.options import LoadOptions

KINDS: dict[str, Callable[[Path], DataFile]] = {
    ".npy": npy_file,
    ".npz": npz_file,
    ".safetensors": safetensors_file,
    ".csv": csv_file,
    ".tsv": csv_file,
    ".csv.gz": csv_file,
    ".parquet": parquet_file,
}


def open_data(options: LoadOptions) -> FileRows:
    """Reads names and shapes; rows are read when batches are drawn."""
    files = [_open(Path(path)) for path in options.data]
    shards = _shards(files)
    where = options.data[0] if len(options.data) == 1 else f"{options.data[0]} and {len(files) - 1} more"
    names = [name for file in shards[0] for name in file.names]
    alone = len(files) == 1 and isinstance(files[0], Picked) and Path(options.data[0]).suffix == ".npy"
    choice = select(names, options.x, options.y, where, alone)
    _check(shards, choice, where)
    return FileRows(shards, choice, where, options.seed, options.batch_size)


def _open(path: Path) -> DataFile:
    require_file(path, "data file")
    refuse_pickle(path)
    name = path.name.lower()
    kind = next((suffix for suffix in sorted(KINDS, key=len, reverse=True) if name.endswith(suffix)), None)
    if kind is None:
        raise GradscopeError(
            f"{path} is not a data file format that gradscope reads.",
            why=f"The ending determines the format: {', '.join(KINDS)}.",
            fix="Write it as one of these, or read it in your file: `batches()` may do anything.",
            slug="unknown-file-format",
        )
    return KINDS[kind](path)


def _shards(files: Sequence[DataFile]) -> tuple[tuple[DataFile, ...], ...]:
    """Files with the same names are read one after another, files with other names side by side."""
    names = [set(file.names) for file in files]
    if all(other == names[0] for other in names):
        return tuple((file,) for file in files)
    if sum(map(len, names)) == len(set().union(*names)):
        return (tuple(files),)
    one, other = next(
        (a, b)
        for a, b in combinations(files, 2)
        if set(a.names) & set(b.names) and set(a.names) != set(b.names)
    )
    shared = sorted(set(one.names) & set(other.names))
    raise GradscopeError(
        f"{one.path} and {other.path} share some names and not others.",
        why=f"Both have {listed([f'`{name}`' for name in shared])}. Files with the same names are read one "
        "after another, files with different names side by side.",
        fix="Give the files of one kind only.",
        slug="mixed-data-files",
    )


def _check(shards: Sequence[Sequence[DataFile]], choice: ColumnSelection, where: str) -> None:
    """The checks that need no row to be read."""
    for shard in shards:
        picked = {name: file for file in shard if isinstance(file, Picked) for name in file.names}
        used = {name: file for name, file in picked.items() if name in choice.names}
        for name, file in used.items():
            if not isinstance(file.dtypes[name], str):
                require_numeric(name, file.dtypes[name], file.path)
        if used:
            require_rows({name: file.shapes[name] for name, file in used.items()}, where)
