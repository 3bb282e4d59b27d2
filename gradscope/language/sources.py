"""What a room says, read from the syntax trees of its files: the messages that a catalogue has to hold.

A literal of two words or more is a message, and so is an f-string, whose values are `{0}`, `{1}` in the order
of their appearance; literals that stand beside each other or are added are one. Where a value is one of two
literals (`'is' if one else 'are'`), each makes a message of its own, so that a translator sees whole
sentences. A message is cut into sentences, since programs join them in many ways.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from gradscope.language.sentences import sentences

VARIANTS = 4
"""Of one message, by what its conditions choose; where there are more, the later ones stay values."""
FIRST = 0xE000
"""Values are single characters of Unicode's private area until a message is written down."""
SHOWN = ("gradscope/report/", "gradscope/cli/")
"""Where titles and heads of columns are written, which may be one word."""
SILENT_METHODS = frozenset((
    "compile", "match", "search", "fullmatch", "sub", "finditer", "findall", "split", "rsplit",
    "partition", "rpartition", "startswith", "endswith", "removeprefix", "removesuffix", "replace",
    "encode", "decode", "strip", "rstrip", "lstrip", "index", "find", "count", "getenv", "joinpath",
    "with_suffix", "glob", "rglob", "open", "maketrans", "add_argument_group",
))  # fmt: skip
"""Of strings and patterns: what they take is no text for a reader."""
SILENT_CALLS = frozenset((
    "cast", "TypeVar", "code", "hasattr", "setattr", "import_module", "Path", "open", "namedtuple",
    "getenv",
))  # fmt: skip
SILENT_KEYWORDS = frozenset((
    "slug", "metavar", "class_", "style", "id", "href", "d", "viewBox", "name", "rule", "kind",
    "encoding", "mode", "key", "dest", "param_decls", "rel", "type", "symptom_of", "uses", "needs",
    "measure", "points", "transform", "content", "src", "family", "op", "extension",
))  # fmt: skip
_VALUE = re.compile(f"[{chr(FIRST)}-{chr(FIRST + 0xFF)}]")
_VALUES = re.compile(f"[{chr(FIRST)}-{chr(FIRST + 0xFF)}]+")
_CODE = re.compile(r"`[^`]*`")
_WORD = re.compile(r"(?<![\w\-.@/=&\\])[A-Za-zδ][A-Za-z'’]*(?:-[A-Za-z]+)*(?![\w/=@(\\])")
_NO_PROSE = re.compile(
    r"</?[a-z][^>]*>|^\s*[.#@]?[\w-]+\s*\{\s*[\w-]+\s*:|\(\?[:P<=!]|\\[dwsb(\[]|^\s*--?[\w-]+\S*$|^https?:|\[\.\.\.|"
    r"^[A-Za-z_.0-9]+(?:, [A-Za-z_.0-9]+)* ?= *\S|^```|^error: |^\s*\"\w+\":|^## |"
    r"^(?:from \S+ )?import \w|^if \w+|^def \w|^bold \w+$|"
    r"^(?:\w+=\S+ )?gradscope [a-z-]+[^.,;]*(?:\.\w+[^.,;]*)*$"
)
"""Markup, style sheets, regular expressions, options, code."""


@dataclass(frozen=True, slots=True)
class Message:
    text: str
    """The English, with `{0}`, `{1}` for values; other braces are doubled."""
    values: tuple[str, ...]
    """What stands in the place of each, as the program's source has it."""
    file: str


def messages(file: Path, root: Path) -> list[Message]:
    """All of one file, in the order of its lines."""
    where = file.relative_to(root).as_posix()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found: list[Message] = []
    for node in _spoken(tree, where):
        for parts in _variants(node):
            found += _written(parts, where)
    if where.startswith(SHOWN):
        found += [Message(title, (), where) for title in _titles(tree)]
    return list({message.text: message for message in found}.values())


TITLED = {
    "counted": 1,
    "Column": 0,
    "LayerColumn": 0,
    "SmallTable": 0,
    "section": 1,
    "details": 0,
    "listed": 0,
}
TITLED |= {"heading": 0, "spoken": 0, "folded": 0, "grid": 0, "gaps": 0}
"""Calls of which an argument, and in a table's the one after it, is a title or is counted."""


def _titles(tree: ast.AST) -> Iterator[str]:
    """Heads of columns, titles, and what stands after a number in the singular, also where it is one word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in TITLED:
            first = TITLED[_name(node)]
            for given in node.args[first : first + (2 if _name(node) == "SmallTable" else 1)]:
                for each in given.elts if isinstance(given, ast.Tuple) else [given]:
                    yield from (_plain(parts) for parts in _variants(each) if _literal(parts))


def _literal(parts: Sequence[Part]) -> bool:
    return all(isinstance(part, str) for part in parts) and re.search("[a-z]{2}", _plain(parts)) is not None


def _name(node: ast.Call) -> str:
    """Of the function or method that is called."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _spoken(tree: ast.AST, where: str) -> Iterator[ast.expr]:
    """The expressions that make text, the outermost ones."""
    titles = where.startswith(SHOWN)
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.expr) and _is_text(node):
            yield node
            waiting += reversed(_inside(node))
            continue
        waiting += reversed(list(_children(node, where, titles)))


def _children(node: ast.AST, where: str, titles: bool) -> Iterator[ast.AST]:
    """The parts of a node in which text may be meant for a reader."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Compare() | ast.Import() | ast.ImportFrom():
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            if where.startswith("gradscope/cli/") and _is_command(node, where):
                yield node.body[0].value  # type: ignore[attr-defined]
            yield from _calls_in_annotations(node)
            yield from node.decorator_list
            yield from node.args.defaults
            yield from (default for default in node.args.kw_defaults if default is not None)
            yield from node.body
        case ast.Subscript():
            yield node.value
            # `Annotated[str, typer.Option(help="...")]` stands in a subscript.
            yield from (each for each in ast.walk(node.slice) if isinstance(each, ast.Call))
        case ast.AnnAssign():
            yield from (child for child in (node.value,) if child is not None)
        case ast.Dict():
            if titles:
                yield from (key for key in node.keys if key is not None)
            yield from node.values
        case ast.Call():
            name = _name(node)
            yield node.func
            if name in ("get", "pop", "getattr"):
                yield from node.args[-1:] if len(node.args) > 1 else ()
            elif (
                not (isinstance(node.func, ast.Attribute) and name in SILENT_METHODS)
                and name not in SILENT_CALLS
            ):
                yield from node.args
            yield from (k.value for k in node.keywords if k.arg not in SILENT_KEYWORDS)
        case _:
            yield from ast.iter_child_nodes(node)


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef, where: str) -> bool:
    callback = any("callback" in ast.dump(each) for each in node.decorator_list)
    return (callback or node.name == Path(where).stem) and ast.get_docstring(node) is not None


def _calls_in_annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    for argument in arguments:
        if isinstance(argument.annotation, ast.Subscript):
            yield argument.annotation


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Add()):
            return _is_text(node.left) or _is_text(node.right)
        case ast.IfExp():
            return _is_text(node.body) and _is_text(node.orelse)
    return False


def _inside(node: ast.expr) -> list[ast.expr]:
    """What a text is made of that holds text of its own: the values of f-strings and sums."""
    match node:
        case ast.JoinedStr():
            values = [each for each in node.values if isinstance(each, ast.FormattedValue)]
            told = math.prod(len(_of_value(each)) for each in values) <= VARIANTS
            return [
                part
                for each in values
                for part in (_inside(each.value) if told and len(_of_value(each)) > 1 else [each.value])
            ]
        case ast.BinOp():
            told = math.prod(len(_variants(side)) for side in (node.left, node.right)) <= VARIANTS
            sides = (node.left, node.right)
            return [part for side in sides for part in (_inside(side) if told and _is_text(side) else [side])]
        case ast.IfExp():
            return [node.test, *_inside(node.body), *_inside(node.orelse)]
    return []


Part = str | ast.expr


def _variants(node: ast.expr) -> list[list[Part]]:
    """The texts that a node can be, as literals and values."""
    match node:
        case ast.Constant(value=str(text)):
            return [[text]]
        case ast.JoinedStr():
            return _combined([_of_value(each) for each in node.values])
        case ast.BinOp(op=ast.Add()):
            return _combined([_variants(node.left), _variants(node.right)])
        case ast.IfExp() if _is_text(node):
            return [*_variants(node.body), *_variants(node.orelse)]
    return [[node]]


def _of_value(node: ast.expr) -> list[list[Part]]:
    if not isinstance(node, ast.FormattedValue):
        return _variants(node)
    if node.format_spec is None and node.conversion == -1 and _is_text(node.value):
        return _variants(node.value)
    return [[node.value]]


def _combined(choices: Sequence[list[list[Part]]]) -> list[list[Part]]:
    """Each of the choices with each; from where they would be too many on, a choice is a value."""
    kept: list[list[list[Part]]] = []
    total = 1
    for choice in choices:
        if total * len(choice) > VARIANTS:
            kept.append([[ast.Name("one of: " + " | ".join(_plain(parts) for parts in choice))]])
        else:
            kept.append(choice)
            total *= len(choice)
    return [[part for parts in chosen for part in parts] for chosen in product(*kept)]


def _plain(parts: Sequence[Part]) -> str:
    return "".join(part if isinstance(part, str) else "…" for part in parts)


def _written(parts: Sequence[Part], where: str) -> Iterator[Message]:
    values: list[str] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            text += chr(FIRST + min(len(values), 0xFF))
            values.append(ast.unparse(part) if not isinstance(part, ast.Name) else part.id)
    for paragraph in re.split(r"\n[ \t]*\n", text) if "\n\n" in text else text.split("\n"):
        for sentence in sentences(" ".join(paragraph.split())):
            if is_prose(sentence):
                yield _numbered(sentence.strip(), values, where)


def is_prose(text: str) -> bool:
    """Whether a reader would want it in another language: words, or one word beside a value."""
    bare = _VALUE.sub(" 0 ", _CODE.sub(" 0 ", text))
    if _NO_PROSE.search(bare):
        return False
    words = [word for word in _WORD.findall(bare) if len(word) > 1]
    if len(words) == 1:
        beside = _VALUE.search(text) or "`" in text or text.startswith("a ") or text.endswith(".")
        return " " in text.strip() and bool(beside)
    return len(words) > 1 and " " in text.strip() and any(word[1:].islower() for word in words)


def _numbered(sentence: str, values: Sequence[str], where: str) -> Message:
    """Values that touch each other are one; they are counted anew in each sentence."""
    used: list[str] = []

    def number(found: re.Match[str]) -> str:
        used.append(" + ".join(values[ord(char) - FIRST] for char in found.group()))
        return f"\0{len(used) - 1}\1"

    text = _VALUES.sub(number, sentence).replace("{", "{{").replace("}", "}}")
    return Message(text.replace("\0", "{").replace("\1", "}"), tuple(used), where)
