"""Text that no message has: names, what a library or the user's own code said, English that is left."""

from __future__ import annotations

import re

from gradscope.language.texts import CODE, prose

NAME = 8
"""Letters of words in what may be a name."""
_ENGLISH = re.compile(r"[A-Za-z'’]+(?: [A-Za-z'’]+,?|, [A-Za-z'’]+) [A-Za-z'’]+")
"""Three words, which are no list of names."""
_LEFT = re.compile(r"(?<![\w./\-])[a-z'’]{2,}(?![\w./(\-])")
_AS_IT_IS = re.compile(r'`[^`]*`|"[^"]*"')
CLAUSES = re.compile("[:;,] ")
_NAMES = re.compile(r"\S+?(?:(?:, (?:and |or )?| and | or )\S+?)+")
"""Single words as a list: names, whichever they are."""


def english(said: str) -> bool:
    """Whether three of its words in a row are no Japanese, no code and not quoted."""
    return _ENGLISH.search(_AS_IT_IS.sub("`", said)) is not None


def quotes(sentence: str, said: str) -> bool:
    """Whether all that is left of a sentence stood behind its first colon, and stands in one piece: what a
    library or the user's own code said."""
    left = list(_LEFT.finditer(CODE.sub(lambda code: " " * len(code.group()), said)))
    foreign = sentence.partition(": ")[2]
    piece = said[left[0].start() : left[-1].end()] if left else " "
    return said != sentence and piece in foreign


def nobody_knows(value: str, covered: float) -> bool:
    """Whether it is a text of which nothing is known, or more than one clause; a word or two may be a name
    (`scan at m.py:3`)."""
    if _NAMES.fullmatch(value):
        return False
    words = prose(value)
    return bool(words) and ((not covered and words > NAME) or CLAUSES.search(value) is not None)
