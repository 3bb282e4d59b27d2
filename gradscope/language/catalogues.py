"""The catalogues as gettext's files, for those who write them: needs Babel, which the program does not."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message as Entry
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from gradscope.language.domains import DOMAINS, extracted
from gradscope.language.sources import Message

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "language" / "ja" / "LC_MESSAGES"
COMPILED = FOLDER / "gradscope.mo"
HEADER = (
    'msgid ""\nmsgstr ""\n"Language: ja\\n"\n"MIME-Version: 1.0\\n"\n'
    '"Content-Type: text/plain; charset=UTF-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n'
    '"Plural-Forms: nplurals=1; plural=0;\\n"\n\n'
)
FEW = 5
"""Words, with which a message may come out as brackets and numbers."""
_VALUE = re.compile(r"\{(\d+)\}")
_CODE = re.compile(r"`([^`]*)`")
_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def path(domain: str) -> Path:
    return FOLDER / f"{domain}.po"


def read(domain: str) -> Catalog:
    """Empty where there is no file yet."""
    file = path(domain)
    return read_po(io.BytesIO(file.read_bytes()), locale="ja") if file.exists() else Catalog(locale="ja")


def update() -> None:
    """Write every catalogue anew from the sources; a translation is kept wherever its text has moved."""
    known = {entry.id: entry for domain in DOMAINS for entry in _all(read(domain)) if entry.string}
    for domain, by_text in extracted(PACKAGE).items():
        catalog = Catalog(locale="ja")
        for text, said in by_text.items():
            old = known.pop(text, None)
            catalog.add(
                text,
                old.string if old is not None else "",
                locations=[(file, 0) for file in dict.fromkeys(each.file for each in said if each.file)],
                flags={"fuzzy"} if old is not None and old.fuzzy else (),
                auto_comments=_values(said[0]),
                user_comments=old.user_comments if old is not None else (),
            )
        out = io.BytesIO()
        write_po(out, catalog, width=110, omit_header=True, include_lineno=False)
        FOLDER.mkdir(parents=True, exist_ok=True)
        path(domain).write_text(HEADER + out.getvalue().decode("utf-8"), encoding="utf-8")


def _all(catalog: Catalog) -> Iterator[Entry]:
    yield from (entry for entry in catalog if entry.id)
    yield from catalog.obsolete.values()


def _values(message: Message) -> list[str]:
    return [f"{{{index}}} = {value}" for index, value in enumerate(message.values)]


def compiled() -> bytes:
    """All catalogues in one, as gettext reads it; undated, so that the same ones give the same bytes."""
    whole = Catalog(locale="ja", domain="gradscope")
    for domain in DOMAINS:
        for entry in read(domain):
            if entry.id and entry.string and not entry.fuzzy:
                whole.add(entry.id, entry.string)
    whole.creation_date = whole.revision_date = datetime(2000, 1, 1, tzinfo=UTC)
    out = io.BytesIO()
    write_mo(out, whole)
    return out.getvalue()


def faults(domain: str) -> Iterator[str]:
    """What is missing or wrong in one catalogue, a line for each."""
    wanted = extracted(PACKAGE)[domain]
    catalog = {entry.id: entry for entry in read(domain) if entry.id}
    yield from (f"not in the file (run update): {text}" for text in wanted if text not in catalog)
    yield from (f"no longer said (run update): {text}" for text in catalog if text not in wanted)
    for text, entry in catalog.items():
        if text in wanted:
            yield from (f"{fault}: {text}" for fault in wrong(text, str(entry.string or ""), entry.fuzzy))


def _codes(text: str) -> list[str]:
    """What stands between backticks, whichever values it has."""
    return sorted(_VALUE.sub("{}", code) for code in _CODE.findall(text))


def wrong(text: str, translated: str, fuzzy: bool) -> Iterator[str]:
    if not translated:
        yield "untranslated"
        return
    if fuzzy:
        yield "fuzzy"
    if sorted(_VALUE.findall(text)) != sorted(_VALUE.findall(translated)):
        yield "other values"
    if re.search(r"(?<!\{)\{(?!\{|\d+\})", translated.replace("{{", "")):
        yield "a single brace"
    if _codes(text) != _codes(translated):
        yield "other code between backticks"
    if text.endswith(".") and " " in text and not translated.endswith(("。", "…", "：", ":")):
        yield "no full stop 。 at the end"
    if not text.endswith((".", "!", "?")) and translated.endswith("。"):
        yield "a full stop at the end of what is part of a sentence"
    if not _JAPANESE.search(translated) and translated != text and len(text.split()) > FEW:
        yield "no Japanese"
