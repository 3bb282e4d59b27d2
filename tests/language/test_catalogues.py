"""The catalogues are whole: every message, value and page; and what the program reads is what they say."""

from __future__ import annotations

import pytest

from gradscope.language import catalogues, page_faults
from gradscope.language.domains import DOMAINS, extracted
from gradscope.language.matching import translator


@pytest.fixture(scope="module")
def messages() -> dict[str, set[str]]:
    return {domain: set(found) for domain, found in extracted(catalogues.PACKAGE).items()}


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_message_is_translated_with_its_values(domain: str) -> None:
    """`python -m gradscope.language update` takes new ones up."""
    assert list(catalogues.faults(domain)) == []


def test_every_page_is_there_with_its_code_and_its_limits() -> None:
    assert list(page_faults.faults()) == []


def test_the_compiled_catalogue_is_that_of_the_sources() -> None:
    """`python -m gradscope.language compile` writes it."""
    assert catalogues.COMPILED.read_bytes() == catalogues.compiled()


def test_no_message_is_in_two_catalogues(messages: dict[str, set[str]]) -> None:
    every = [text for found in messages.values() for text in found]
    assert len(every) == len(set(every)) > 2500


def test_every_message_is_found_again_in_a_text_that_has_it(messages: dict[str, set[str]]) -> None:
    """With values put in, and in whole."""
    known = translator("ja")
    whole = [text for found in messages.values() for text in found if "{" not in text and " " in text]
    missed = [
        text for text in whole if text in known.exact and known.translate(text) == text != known.exact[text]
    ]
    assert missed == []


@pytest.mark.parametrize(
    ("text", "translated", "fault"),
    [
        ("{0} of {1}", "{0}", "other values"),
        ("{0} is wrong", "{0} は誤りです。", "a full stop at the end of what is part of a sentence"),
        ("It is wrong.", "誤りです", "no full stop 。 at the end"),
        ("Use `jax.jit` here.", "ここでは `jax.grad` を使ってください。", "other code between backticks"),
        ("It is {0} now.", "今は {0} { です。", "a single brace"),
        ("It is wrong.", "", "untranslated"),
    ],
)
def test_a_translation_that_cannot_be_right_is_told(text: str, translated: str, fault: str) -> None:
    assert fault in list(catalogues.wrong(text, translated, fuzzy=False))
