"""Files of the user as they would be after an edit: who runs them gets that text, the disk stays as it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType

_texts: ContextVar[Mapping[str, bytes]] = ContextVar("texts", default=MappingProxyType({}))


@contextmanager
def edited(texts: Mapping[str, str]) -> Iterator[None]:
    """Within it each of these paths holds that text, for targets and for what they import."""
    found = {str(Path(path).resolve()): text.encode() for path, text in texts.items()}
    token, finder = _texts.set(found), _EditedFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _texts.reset(token)


def read(path: Path) -> bytes:
    """What a file holds, or would hold."""
    text = _texts.get().get(str(path.resolve()))
    return path.read_bytes() if text is None else text


class _EditedLoader(SourceFileLoader):
    """Compiles the edited text; never what an earlier run compiled of the file."""

    def get_data(self, path: str) -> bytes:
        return read(Path(path)) if path.endswith(".py") else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, float]:
        raise OSError("an edited file has no compiled one")


class _EditedFinder:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        origin = spec.origin if spec is not None else None
        if spec is None or origin is None or str(Path(origin).resolve()) not in _texts.get():
            return None
        return spec_from_file_location(
            name,
            origin,
            loader=_EditedLoader(name, origin),
            submodule_search_locations=spec.submodule_search_locations,
        )
