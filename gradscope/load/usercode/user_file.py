"""Runs a user's file, or imports a module, as Python would, and gives back its namespace."""

from __future__ import annotations

import importlib
import io
import linecache
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import CodeType, ModuleType

from gradscope.errors import GradscopeError
from gradscope.load.message_text import did_you_mean
from gradscope.load.usercode import edited
from gradscope.load.usercode.hints import TARGET
from gradscope.load.usercode.user_code import is_library, shown_path, user_code

_TAKEN = ("gradscope", "jax", "jaxlib", "numpy", "optax")


def run_file(path: Path) -> ModuleType:
    """The module of `path`, run afresh even if it was loaded before.

    Its folder stays first on `sys.path`, and the module stays in `sys.modules` under the name of the file,
    for imports that happen only when the loss is called. A name that another module has is left to it.
    """
    path = path.absolute()
    if path.stem in _TAKEN:
        raise GradscopeError(
            f"The file is named {path.name}, like a library that it needs.",
            why=f"Its folder is searched first, so `import {path.stem}` would find the file itself.",
            fix="Rename the file.",
            slug="taken-name",
        )
    code = _compiled(path)
    # Messages quote its lines: they must be those of now, where an earlier state was quoted before.
    linecache.checkcache(str(path))
    module = ModuleType(_module_name(path))
    module.__file__ = str(path)
    module.__package__ = ""
    setattr(module, TARGET, True)
    _first_on_path(str(path.parent))
    sys.modules[module.__name__] = module
    try:
        with surroundings(str(path)), user_code(f"running {shown_path(str(path))}"):
            exec(code, module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def import_named(name: str) -> ModuleType:
    """The module `package.module`, searched from the working directory as `python -m` does."""
    _first_on_path(os.getcwd())
    with surroundings(name), user_code(f"importing {name}"):
        return importlib.import_module(name)


def forget_imported(before: Collection[str]) -> None:
    """Let the user's modules that are not among `before` be run again by who imports them next.

    Those of libraries stay, and so does native code, which most processes can load only once.
    """
    for name, module in list(sys.modules.items()):
        if name not in before and _is_users(module):
            del sys.modules[name]


def _is_users(module: ModuleType) -> bool:
    # A folder without `__init__.py` has no file: it would hand out the modules that it knows.
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    native = str(file).endswith(tuple(EXTENSION_SUFFIXES))
    return isinstance(file, str) and not native and not is_library(file)


@contextmanager
def surroundings(argument: str) -> Iterator[None]:
    """What user code sees of the process: an empty standard input, and itself as the only argument."""
    stdin, argv = sys.stdin, sys.argv
    sys.stdin, sys.argv = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), [argument]
    try:
        yield
    finally:
        sys.stdin, sys.argv = stdin, argv


def _compiled(path: Path) -> CodeType:
    shown = shown_path(str(path))
    try:
        code: CodeType = compile(edited.read(path), str(path), "exec", dont_inherit=True)
        return code
    except SyntaxError as error:
        raise _syntax_error(error, shown) from None
    except ValueError as error:
        raise GradscopeError(
            f"{shown} is not Python: {error}.",
            why="It holds bytes that no source file has.",
            fix="Give a Python source file.",
            slug="syntax-error",
        ) from None
    except OSError as error:
        raise GradscopeError(
            f"{shown} cannot be read: {error.strerror}.",
            why=f"Opening it failed with {type(error).__name__}.",
            fix="Give a Python source file that you may read.",
            slug="no-such-file",
        ) from None


def _syntax_error(error: SyntaxError, file: str) -> GradscopeError:
    line = (error.text or "").rstrip()
    text = line.lstrip()
    lines = [f"  {file}:{error.lineno or 1}"]
    if text:
        lines.append(f"    {text}")
        column = (error.offset or 0) - 1 - (len(line) - len(text))
        if 0 <= column <= len(text):
            lines.append(f"    {' ' * column}^")
    return GradscopeError(
        f"{file}:{error.lineno or 1} is not valid Python: {error.msg}.",
        why=f"Python {sys.version_info.major}.{sys.version_info.minor} cannot parse it.",
        fix="Correct the line shown.",
        details="\n".join(lines),
        slug="syntax-error",
    )


def _module_name(path: Path) -> str:
    """That of the file, where an import by that name would find it: Python prefers a package beside it."""
    stem, present = path.stem, sys.modules.get(path.stem)
    free = present is None or hasattr(present, TARGET)
    taken = stem in (*sys.stdlib_module_names, "__main__") or (path.parent / stem / "__init__.py").is_file()
    return stem if free and not taken else f"_gradscope_target_{stem}"


def _first_on_path(folder: str) -> None:
    if not sys.path or sys.path[0] != folder:
        sys.path.insert(0, folder)


def missing_file(path: Path) -> GradscopeError:
    """Says what of the path exists, and which file is near it."""
    folder = path.parent
    if not folder.is_dir():
        existing = next(p for p in (*folder.parents, Path()) if p.is_dir())
        why = f"The folder {folder} does not exist either; {existing.resolve()} does."
        return GradscopeError(
            f"There is no file {path}.", why=why, fix="Check the path.", slug="no-such-file"
        )
    files = sorted(p.name for p in folder.iterdir() if p.suffix == ".py")
    close = did_you_mean(path.name, files)
    return GradscopeError(
        f"There is no file {path}.",
        why=f"The folder holds {len(files)} Python file{'' if len(files) == 1 else 's'}.",
        fix=close or "Check the path, or give a module as `package.module:name`.",
        details="\n".join(f"  {name}" for name in files[:10]),
        slug="no-such-file",
    )
