"""`--mesh`: the params and batches of a file that knows of one device, laid out over several.

Where an array lies changes nothing of what is computed: XLA divides the same program among the devices.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.peers.joined import here
from gradscope.peers.placing import put
from gradscope.records.options import LoadOptions, mesh_text

ROWS, BOTH, WEIGHTS = "data", "fsdp", "model"
"""The axes of a mesh that is asked for by an option: one divides rows, one parameters, and one both."""
OF_ROWS, OF_WEIGHTS = (ROWS, BOTH), (WEIGHTS, BOTH)


def require_devices(options: LoadOptions) -> None:
    """Ask JAX for as many CPU devices as `options` want, and raise where there are fewer.

    Before anything computes, as a backend keeps the devices that it began with: where a file is loaded again
    it has these already. A number in `XLA_FLAGS` is the user's, and stays.
    """
    wanted = max(options.devices or 1, math.prod(options.mesh.values()))
    if not options.mesh and options.devices is None:
        return
    count = here().count
    if wanted % count:
        raise GradscopeError(
            f"{_option(options)} asks for {wanted} devices, and there are {count} processes.",
            why="Each process has the same number of them.",
            fix=f"Ask for {wanted // count * count or count} or {-(-wanted // count) * count} devices.",
            slug="bad-option",
        )
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", wanted // count)  # type: ignore[no-untyped-call]
    devices = jax.devices()
    if options.mesh and count > 1 and len(devices) != wanted:
        raise GradscopeError(
            f"--mesh asks for {wanted} devices, and the {count} processes have {len(devices)}.",
            why="A mesh has the devices of all processes.",
            fix=f"Give a mesh of {len(devices)} devices, as --mesh {ROWS}={len(devices)}.",
            slug="bad-option",
        )
    if len(devices) >= wanted:
        return
    kind = devices[0].platform
    raise GradscopeError(
        f"{_option(options)} asks for {wanted} devices, and JAX has {len(devices)} ({kind}).",
        why="CPU devices are made before JAX begins to compute, and XLA_FLAGS may name another number."
        if kind == "cpu"
        else "A mesh is made of the devices that JAX finds first.",
        fix=f"Ask for {len(devices)} at most"
        + (", or set JAX_PLATFORMS=cpu for CPU devices." if kind != "cpu" else ", or change XLA_FLAGS."),
        slug="bad-option",
    )


def _option(options: LoadOptions) -> str:
    return "--mesh" if options.mesh else "--devices"


def placed(problem: Problem, sizes: Mapping[str, int]) -> Problem:
    """The problem with its params and batches on a mesh. Raises where the file has one of its own, or where
    the rows cannot be divided."""
    count = math.prod(sizes.values())
    mesh = Mesh(np.array(jax.devices()[:count]).reshape(tuple(sizes.values())), tuple(sizes))
    placement = OnMesh(mesh, sizes)
    first = problem.batch_source.first()
    for what, tree in (("params", problem.params), ("batch", first)):
        _require_unplaced(tree, what)
    placement.require_rows(first)
    return problem.placed(placement, placement.told(problem.params, first))


@dataclass(frozen=True)
class OnMesh:
    """Where each array of a problem lies."""

    mesh: Mesh
    sizes: Mapping[str, int]

    @property
    def parts(self) -> int:
        """In which the rows are split."""
        return math.prod(self.sizes.get(name, 1) for name in OF_ROWS)

    def params(self, tree: Any) -> Any:
        """Each array split along the largest of its axes that `model` divides, the last of several, and along
        the largest of the others that `fsdp` divides; whole on every device where there is none."""
        return jax.tree.map(lambda leaf: self._put(leaf, self._of_weights(leaf)), tree)

    def require_rows(self, batch: Any) -> None:
        """Raises where the rows cannot be divided."""
        rows, parts = rows_of(batch), self.parts
        if rows is None or rows % parts == 0:
            return
        down, up = rows // parts * parts, -(-rows // parts) * parts
        axes = mesh_text({name: size for name, size in self.sizes.items() if name in OF_ROWS})
        raise GradscopeError(
            f"The batch has {rows} rows, which `{axes}` of --mesh does not divide.",
            why="Each device along that axis gets the same number of rows.",
            fix=f"Give a batch of {f'{down} or {up}' if down else up} rows, or another mesh.",
            slug="bad-option",
        )

    def batch(self, tree: Any) -> Any:
        """Each array that has the rows of the batch split along them over `data` and `fsdp`; the others are
        whole, and so are all of a later batch whose rows cannot be divided, which has another form than the
        first."""
        rows = rows_of(tree)
        rows = rows if rows is None or rows % self.parts == 0 else None
        return jax.tree.map(lambda leaf: self._put(leaf, self._of_rows(leaf, rows)), tree)

    def told(self, params: Any, batch: Any) -> str:
        """What was done, for the notes of a report."""
        axes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        leaves = [leaf for leaf in jax.tree.leaves(params) if _is_array(leaf)]
        split = sum(self._of_weights(leaf) != _spec() for leaf in leaves)
        rows, parts = rows_of(batch), self.parts
        of_rows = f", {rows // parts} of the {rows} rows on each" if rows and parts > 1 else ""
        of_params = (
            f"all arrays of the params are split ({split})."
            if split == len(leaves)
            else f"{split} of {len(leaves)} arrays of the params are split, the others are whole on each."
            if split
            else "the params are whole on each."
        )
        return f"Laid out over {self.mesh.size} devices ({axes}){of_rows}; {of_params}"

    def _of_weights(self, leaf: Any) -> PartitionSpec:
        shape, split = np.shape(leaf), dict[int, str]()
        for name in OF_WEIGHTS:
            parts = self.sizes.get(name, 1)
            fitting = [
                axis
                for axis, length in enumerate(shape)
                if length and length % parts == 0 and axis not in split
            ]
            if parts > 1 and fitting:
                split[max(fitting, key=lambda axis: (shape[axis], axis))] = name
        return _spec(*[split.get(axis) for axis in range(max(split, default=-1) + 1)])

    def _of_rows(self, leaf: Any, rows: int | None) -> PartitionSpec:
        axes = tuple(name for name in OF_ROWS if name in self.sizes)
        if rows is None or np.shape(leaf)[:1] != (rows,) or not axes:
            return _spec()
        return _spec(axes if len(axes) > 1 else axes[0])

    def _put(self, leaf: Any, spec: PartitionSpec) -> Any:
        if not _is_array(leaf):
            return leaf
        sharding = NamedSharding(self.mesh, spec)
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # type: ignore[no-untyped-call]
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        return put(leaf, sharding)


def _spec(*parts: str | tuple[str, ...] | None) -> PartitionSpec:
    return PartitionSpec(*parts)  # type: ignore[no-untyped-call]


def rows_of(batch: Any) -> int | None:
    """The length of the first axis that most arrays of a batch have, the first of several."""
    lengths = [np.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if _is_array(leaf) and np.ndim(leaf)]
    return Counter(lengths).most_common(1)[0][0] if lengths else None


def _is_array(leaf: Any) -> bool:
    """Numbers of Python are no arrays: they lie nowhere."""
    return isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _require_unplaced(tree: Any, what: str) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1:
            raise GradscopeError(
                f"--mesh is given, and {what}{jax.tree_util.keystr(path)} lies on a mesh already.",
                why="The file lays its arrays out over devices by itself.",
                fix="Leave --mesh out: gradscope measures arrays where the file puts them.",
                slug="bad-option",
            )
