"""Flax's msgpack files (`flax.serialization.to_bytes`), read with msgpack alone."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from gradscope.load.data import npy
from gradscope.load.extras import required

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
"""The extension types of Flax: an array is packed as (shape, name of the dtype, bytes)."""
_CHUNKED = "__msgpack_chunked_array__"


def read_msgpack(path: Path) -> Any:
    msgpack = required("msgpack", "checkpoints", f"read {path}")

    def extension(code: int, data: bytes) -> Any:
        if code == _COMPLEX:
            return complex(*msgpack.unpackb(data))
        if code not in (_ARRAY, _SCALAR):
            return None
        shape, name, elements = msgpack.unpackb(data, raw=True)
        return _array(tuple(shape), name.decode("ascii"), elements)

    try:
        tree = msgpack.unpackb(path.read_bytes(), ext_hook=extension, raw=False, strict_map_key=False)
        return _unchunked(tree)
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.exceptions.UnpackException) as error:
        raise npy.corrupt(str(path), f"It is not a Flax msgpack file: {error}") from None


def _array(shape: tuple[int, ...], name: str, elements: bytes) -> Any:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    if dtype.hasobject or len(elements) != prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of {name}{list(shape)} has {len(elements)} bytes")
    return np.frombuffer(elements, dtype).reshape(shape)


def _unchunked(tree: Any) -> Any:
    """Arrays above 1 GB are stored in pieces."""
    if isinstance(tree, dict) and _CHUNKED in tree:
        pieces = [tree["chunks"][str(i)] for i in range(len(tree["chunks"]))]
        shape = [tree["shape"][str(i)] for i in range(len(tree["shape"]))]
        return np.concatenate(pieces).reshape(shape)
    if isinstance(tree, dict):
        return {key: _unchunked(value) for key, value in tree.items()}
    return tree
