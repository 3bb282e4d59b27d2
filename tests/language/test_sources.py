"""What extraction takes for a message, on small sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.language.sentences import sentences
from gradscope.language.sources import messages


def texts(tmp_path: Path, source: str, where: str = "gradscope/rules/x.py") -> list[str]:
    file = tmp_path / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    return [message.text for message in messages(file, tmp_path)]


def test_values_are_numbered_and_literals_beside_each_other_are_one(tmp_path: Path) -> None:
    source = 'message = f"{share} of it is left " f"at `{name}`: " + "look " + where + " there."'
    assert texts(tmp_path, source) == ["{0} of it is left at `{1}`: look {2} there."]


def test_values_that_touch_are_one_and_braces_are_doubled(tmp_path: Path) -> None:
    assert texts(tmp_path, 'f"Write {{}} before {a}{b} now."') == ["Write {{}} before {0} now."]


def test_a_choice_between_two_literals_gives_two_sentences(tmp_path: Path) -> None:
    source = """f"{n} {'is' if n == 1 else 'are'} not finite" """
    assert texts(tmp_path, source) == ["{0} is not finite", "{0} are not finite"]


def test_a_message_is_cut_into_sentences_with_values_of_their_own(tmp_path: Path) -> None:
    source = 'f"The rms is {a} (limit {b}). Start from {c}, e.g. from zero. {d}"'
    assert texts(tmp_path, source) == ["The rms is {0} (limit {1}).", "Start from {0}, e.g. from zero."]


def test_a_value_that_holds_a_text_is_a_message_too(tmp_path: Path) -> None:
    source = """f"{x} ends {'here and now' if y else other}" """
    assert texts(tmp_path, source) == ["{0} ends {1}", "here and now"]


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring is no message."""',
        'x = re.compile("a pattern is none")',
        'assert x, "what a developer reads"',
        'if name == "a name with blanks": pass',
        'y = "weight"',
        'y = "--fail-on"',
        'z = "optimizer = optax.adam(1e-3)"',
        'w = "<b>bold and more</b>"',
        'Key(slug="no such thing")',
    ],
)
def test_what_is_no_prose_is_left_out(tmp_path: Path, source: str) -> None:
    assert texts(tmp_path, source) == []


def test_titles_and_nouns_that_are_counted_are_messages_where_reports_are_written(tmp_path: Path) -> None:
    source = 'Column(("lowest to", "highest"), 1, cells); units.counted(n, "layer")'
    assert texts(tmp_path, source, "gradscope/report/x.py") == ["lowest to", "highest", "layer"]


def test_the_help_of_a_command_and_of_its_options_are_messages(tmp_path: Path) -> None:
    source = (
        'def run(n: Annotated[int, typer.Option(help="How many steps.")] = 1) -> None:\n'
        '    """Train it,\n    and look."""\n'
        'def other() -> None:\n    """No command of its own."""\n'
    )
    assert texts(tmp_path, source, "gradscope/cli/run.py") == ["Train it,", "and look.", "How many steps."]


def test_a_sentence_ends_outside_of_code_and_brackets_only() -> None:
    line = "Use `a. b` (or not. Or so). It is done (at last.) Yes. So"
    assert list(sentences(line)) == ["Use `a. b` (or not. Or so). ", "It is done (at last.) Yes. ", "So"]
