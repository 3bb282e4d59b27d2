"""Finds in a finished English text the messages that it was put together from, and puts together their
translations.

A message with values is a pattern. A sentence is read as the message, or the messages one after the other,
whose literal characters cover most of it; what stands in the place of a value is read in the same way, and
stays as it is where nothing is known: a name, a number, code. A text is never an error: what is not
found stays English.
"""

from __future__ import annotations

import gettext
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from gradscope.language.patterns import VALUE, WORD, Pattern, found_in, matched, pattern_of, unescaped
from gradscope.language.sentences import sentences
from gradscope.language.texts import CODE, ENDS, forms, prose, several, split_at, tidied
from gradscope.language.untold import english, nobody_knows, quotes
from gradscope.language.words import AGREEING, VALUES

FOLDER = Path(__file__).parent
TRIALS = 400
"""Of messages that fit, in one sentence: what a pathological one may cost."""
DEEPEST = 8
ENOUGH = 1.9
"""Of twice a text's length: it is looked for no better attempts."""
LEAST = 0.5
PIECE = 16
"""What a further message costs, in letters counted twice: one that says all is meant before two that do."""
FEW = 6
"""Of all messages that fit one text, the longest are tried."""
DOT = " · "
"""Between facts that stand beside each other."""
_STOP = re.compile(r"(?<!\.)\.(?=\s*$)")
"""Of a sentence that ends with a name."""
_SIGN = re.compile(r"[^\w\s`(\"'-]+ +|")
"""What stands before a text and is no part of it: an ellipsis, a mark."""
_COUNTED = re.compile(r"([\d,.]+)( (?:more )?)([a-z][a-z ]*?)(e?s)?$")
_JOINTS = ("; ", ": ", ", ", " and ", " or ", " ")


@dataclass(slots=True)
class Attempts:
    """What one text has cost so far, and what its parts were read as."""

    left: int = TRIALS
    known: dict[tuple[str, bool], tuple[float, str]] = field(default_factory=dict)


class Translator:
    def __init__(self, messages: Mapping[str, str]) -> None:
        pairs = [(message, text) for message, text in messages.items() if message and text]
        self.messages = dict(pairs)
        self.exact = {unescaped(m): unescaped(t) for m, t in pairs if not VALUE.search(m)}
        patterns = [pattern_of(message, text) for message, text in pairs]
        counts = Counter(word for pattern in patterns for word in set(pattern.words))
        self.by_word: dict[str, list[Pattern]] = {}
        for pattern in patterns:
            # Under its rarest word, so that few are tried with a text.
            rarest = min(pattern.words, key=lambda word: (counts[word], word), default="")
            self.by_word.setdefault(rarest, []).append(pattern)
        self.translate = lru_cache(4096)(self._translate)

    def heading(self, text: str) -> str:
        core = text.strip()
        found = self.exact.get(core) or self.exact.get(core.removesuffix(":"))
        if found is None:
            return self.translate(text)
        return text.replace(core, found + (":" if core.endswith(":") and core not in self.exact else ""))

    def _translate(self, text: str) -> str:
        if not WORD.search(text):
            return text
        if found := self.exact.get(text):
            return found if several(text) else text
        return "\n".join(map(self._line, text.split("\n")))

    def _line(self, line: str) -> str:
        sign = _SIGN.match(line)
        bare = line[sign.end() :] if sign else line
        found = [
            piece
            for place, part in enumerate(bare.split(DOT))
            for piece in ([(DOT, DOT)] * bool(place) + [self._sentence(each) for each in sentences(part)])
        ]
        if all(before == after for before, after in found):
            return line
        said = [after if after == before else _ended(before, after) for before, after in found]
        return line[: len(line) - len(bare)] + tidied("".join(said))

    def _sentence(self, sentence: str) -> tuple[str, str]:
        """As it is where most of it is in no message: half a translation is harder to read than none."""
        clauses = split_at(sentence, "; ")
        if len(clauses) > 1 and not self._spans(sentence.strip()):
            read = [self._sentence(clause) for clause in clauses]
            if all(before != after or not prose(before) for before, after in read):
                return sentence, "; ".join(after for _, after in read)
        covered, said = self._read(sentence, Attempts(), 0)
        if covered >= prose(sentence) or not english(said) or quotes(sentence, said):
            return sentence, said
        head, colon, foreign = sentence.partition(": ")
        covered, said = self._read(head, Attempts(), 0) if foreign else (0, head)
        known = covered >= prose(head) and not english(said)
        return sentence, f"{said}{colon}{foreign}" if known else sentence

    def _spans(self, sentence: str) -> bool:
        """Whether a message has the semicolon itself: its clauses are no sentences of their own."""
        for pattern in self._candidates(sentence):
            if pattern.continues and pattern.literals[0].startswith(";"):
                found = found_in(pattern, sentence) is not None
            else:
                found = any("; " in literal for literal in pattern.literals) and any(
                    matched(pattern, text) is not None for text, _ in forms(sentence)
                )
            if found:
                return True
        return False

    def _read(self, text: str, attempts: Attempts, depth: int, joints: bool = True) -> tuple[float, str]:
        """Twice how many of its characters are in messages, and the translation."""
        core = text.strip()
        if depth > DEEPEST or not several(core) or attempts.left <= 0:
            return 0, text
        known = attempts.known.get((core, joints))
        if known is None:
            # Until it is known, as what it is made of may hold itself again.
            attempts.known[core, joints] = 0, core
            known = 0, core
            for found in self._readings(core, attempts, depth, joints):
                known = max(known, found, key=lambda each: each[0])
                if known[0] >= ENOUGH * len(core):
                    break
            attempts.known[core, joints] = known
        covered, said = known
        start = text.index(core[:1])
        return covered, text[:start] + said + text[start + len(core) :]

    def _readings(
        self, core: str, attempts: Attempts, depth: int, joints: bool
    ) -> Iterator[tuple[float, str]]:
        """Each that is found; of equal ones the first is meant."""
        for text, mend in forms(core):
            if found := self.exact.get(text):
                yield max(LEAST, 2 * len(core) - PIECE), mend(found)
                return
        if counted := self._counted(core):
            yield counted
        yield from self._in_parts(core, attempts, depth, continued=True)
        for text, mend in forms(core):
            fitting = 0
            for pattern in self._candidates(text):
                if fitting and not pattern.strong:
                    break
                values = matched(pattern, text)
                # The first letter was turned over for a message, and a value keeps its own.
                if text[:1] != core[:1] and not pattern.literals[0]:
                    values = None
                # The mark at the end of a sentence is no part of its last value.
                if values and not pattern.literals[-1] and values[-1][-1:] in ENDS:
                    values = None
                filled = None if values is None else self._filled(pattern, values, attempts, depth)
                if filled is not None:
                    attempts.left -= 1
                    fitting += 1
                    yield filled[0], mend(filled[1])
                if fitting == FEW or attempts.left <= 0:
                    break
        yield from self._in_parts(core, attempts, depth, continued=False)
        if joints:
            yield from self._joined(core, attempts, depth)

    def _filled(
        self, pattern: Pattern, values: list[str], attempts: Attempts, depth: int
    ) -> tuple[float, str] | None:
        """A translation with its values; `None` where a word or two are all that the message has, and a
        value is a text that nobody knows."""
        covered, said = max(LEAST, 2 * pattern.weight - PIECE), dict[int, str]()
        for place, value in enumerate(values):
            more, said[place] = (0, value) if pattern.coded[place] else self._read(value, attempts, depth + 1)
            if value in AGREEING:
                said[place] = ""
            elif value in VALUES and not pattern.coded[place]:
                said[place] = self.exact.get(value, value)
            unread = several(value) and not pattern.coded[place] and nobody_knows(value, more)
            if unread and not pattern.strong:
                return None
            covered += more - (PIECE if "; " in value else 0)
        text = "".join(said[part] if isinstance(part, int) else part for part in pattern.translation)
        return covered, text

    def _candidates(self, text: str) -> list[Pattern]:
        """The messages whose rarest word it has, those with most characters first."""
        words = {word.lower() for word in WORD.findall(text)}
        found = [pattern for word in (*words, "") for pattern in self.by_word.get(word, ())]
        return sorted(found, key=lambda pattern: (-pattern.weight, len(pattern.literals)))

    def _in_parts(
        self, text: str, attempts: Attempts, depth: int, *, continued: bool
    ) -> Iterator[tuple[float, str]]:
        """With a message somewhere in it, and what stands before and after. `continued`: one that continues
        another, which must not become part of that one's last value."""
        tried, stop, whole = 0, "。" if text.endswith(".") else "", text
        for pattern in self._candidates(text):
            if tried == FEW or attempts.left <= 0:
                return
            fits = pattern.continues if continued else pattern.strong and not pattern.continues
            text = whole if pattern.literals[-1].endswith(".") else whole.removesuffix(".")
            place = found_in(pattern, text) if fits else None
            if place is None:
                continue
            tried += 1
            attempts.left -= 1
            start, end, values = place
            filled = self._filled(pattern, values, attempts, depth)
            if filled is None:
                continue
            inner, middle = filled
            before, head = self._read(text[:start], attempts, depth + 1)
            after, tail = self._read(text[end:], attempts, depth + 1)
            yield (
                before + inner + after + (0 if continued and before else -1),
                (head + middle + tail).removesuffix(stop) + stop,
            )

    def _joined(self, text: str, attempts: Attempts, depth: int) -> Iterator[tuple[float, str]]:
        """As a list, or clauses beside each other."""
        for joint in _JOINTS[:-1]:
            parts = split_at(text, joint)
            if len(parts) > 1:
                read = [self._read(part, attempts, depth + 1, joints=joint != ", ") for part in parts]
                if all(covered or not several(part) for part, (covered, _) in zip(parts, read, strict=True)):
                    between = {", ": "、", " and ": " と ", " or ": " または "}.get(joint, joint)
                    coded = joint in (" and ", " or ") and all(map(CODE.fullmatch, parts))
                    # Of names alone nothing is covered, and yet they are read.
                    least = LEAST if coded else 0
                    yield (
                        max(least, sum(covered for covered, _ in read) - 1),
                        between.join(said for _, said in read),
                    )
        if found := re.fullmatch(r"(.*\S) ?(\(([^()]+)\))(\.?)", text):
            more, head = self._read(found[1], attempts, depth + 1)
            # A message may have the brackets itself.
            whole, tail = self._read(found[2], attempts, depth + 1, joints=False)
            less, inner = self._read(found[3], attempts, depth + 1)
            if not whole:
                tail = f"({inner})"
            if more or whole or less:
                yield more + (whole or less), f"{head} {tail}{'。' if found[4] else ''}"

    def _counted(self, text: str) -> tuple[float, str] | None:
        """A number and what is counted: `3 time steps`."""
        found = _COUNTED.fullmatch(text)
        if found is None:
            return None
        number, between, noun, plural = found.groups()
        if whole := self.messages.get(f"{{0}}{text.removeprefix(number)}"):
            return max(LEAST, 2 * len(noun) - PIECE), whole.replace("{0}", number)
        for name in (noun + (plural or ""), noun, noun + "e" if plural == "es" else noun):
            if translated := self.exact.get(name):
                return max(
                    1, 2 * len(noun) - PIECE
                ), f"{'ほか ' if between.strip() else ''}{number} {translated}"
        return None


def _ended(before: str, after: str) -> str:
    """With the full stop of the language, also after a name, and no blank that a value left at its start."""
    return _STOP.sub("。", after if before[:1].isspace() else after.lstrip())


@cache
def translator(language: str) -> Translator:
    file = FOLDER / language / "LC_MESSAGES" / "gradscope.mo"
    try:
        with file.open("rb") as stream:
            messages = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
    except OSError:  # repackaged without it
        return Translator({})
    return Translator({key: text for key, text in messages.items() if isinstance(key, str)})
