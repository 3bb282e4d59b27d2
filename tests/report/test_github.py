"""Workflow commands, read back as the runner of GitHub Actions reads them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from gradscope.records import Policy, Report, Severity, Suite
from gradscope.report.ci.github import command, plain
from tests.report.canned import broken, deep, healthy
from tests.report.pages import compare, shown
from tests.report.runs import RUNS, beside_baseline, crowd, several

UNESCAPED = {"%3A": ":", "%2C": ",", "%0D": "\r", "%0A": "\n", "%25": "%"}


@dataclass
class Command:
    kind: str
    properties: dict[str, str]
    message: str


def unescape(text: str, codes: tuple[str, ...]) -> str:
    """In the order of the runner: `%25` last."""
    for code in codes:
        text = text.replace(code, UNESCAPED[code])
    return text


def parse(line: str) -> Command | None:
    """What the runner makes of a line of the log; `None` for text."""
    assert "##[" not in line, "the older form of a command"
    if not line.lstrip().startswith("::"):
        return None
    head, separator, data = line.lstrip()[2:].partition("::")
    assert separator
    kind, _, properties = head.partition(" ")
    given = dict(entry.split("=", 1) for entry in properties.split(","))
    return Command(
        kind,
        {key: unescape(value, tuple(UNESCAPED)) for key, value in given.items()},
        unescape(data, ("%0D", "%0A", "%25")),
    )


def commands(run: Report | Suite) -> list[Command]:
    return [each for line in shown(run, "github").splitlines() if (each := parse(line))]


@pytest.mark.parametrize("name", RUNS)
def test_every_line_is_an_annotation_or_harmless(name: str) -> None:
    text = shown(RUNS[name], "github")
    assert text.replace("\n", "").isprintable()
    for each in commands(RUNS[name]):
        assert each.kind in ("error", "warning", "notice")
        assert set(each.properties) == {"title", "file", "line"}
        assert each.properties["line"].isdigit()
        assert each.message
    for line in text.splitlines():
        assert line.startswith(("::error ", "::warning ", "::notice ", "gradscope: "))


@pytest.mark.parametrize("name", ["broken", "baseline", "several"])
def test_it_reads_as_the_golden_file_does(name: str) -> None:
    compare(f"github_{name}.txt", shown(RUNS[name], "github"))


def test_a_finding_comes_back_whole() -> None:
    finding = replace(broken().findings[1], message="100%, of: a\nb", rule="a,b:c%0A")
    (back,) = commands(replace(broken(), findings=(finding,)))
    assert back.properties["title"] == "gradscope (a,b:c%0A)"
    assert back.properties["file"] == "model.py"
    assert back.properties["line"] == "44"
    assert back.message.startswith("head: 100%, of: a\\nb\nWhat to do: Use `jax.nn.log_softmax`")


def test_what_is_escaped_comes_back() -> None:
    text = "".join(map(chr, range(32, 127))) + "%25%0A%3A\r\n"
    back = parse(command("error", text, title=text))
    assert back is not None
    assert (back.message, back.properties["title"]) == (text, text)


def test_ten_of_each_type_are_shown_and_the_others_counted() -> None:
    assert len(commands(crowd())) == 10
    assert "gradscope: 190 more errors not annotated" in shown(crowd(), "github")
    finding = deep().findings[0]
    mixed = tuple(replace(finding, severity=severity) for severity in Severity for _ in range(11))
    assert len(commands(replace(deep(), findings=mixed))) == 30


def test_what_fails_the_gate_comes_first() -> None:
    finding = deep().findings[0]
    many = (*(replace(finding, rule="tolerated") for _ in range(20)), finding)
    titles = [
        each.properties["title"]
        for each in commands(Suite.of(replace(deep(), findings=many), Policy((finding.rule,))))
    ]
    assert titles[0] == "gradscope (vanishing-gradient)"


def test_what_the_baseline_knows_is_no_annotation() -> None:
    texts = [each.message for each in commands(beside_baseline())]
    assert len(texts) == 2
    assert "new, in 4 of 5 seeds" in texts[0]
    assert "worse than in the baseline" in texts[1]
    assert "(1 in the baseline)" in shown(beside_baseline(), "github")


def test_a_target_that_was_not_judged_is_an_error_at_its_file() -> None:
    errors = [each for each in commands(several()) if each.properties["title"] == "gradscope (not judged)"]
    assert [each.properties["file"] for each in errors][1:] == ["pkg/models.py", "../outside/model.py"]
    assert "::error::" in errors[0].message


def test_a_line_of_the_log_is_no_command() -> None:
    assert parse(plain("\n::error::x ##[error]y")) is None
    said = "nothing found in 4 layers; gradients not verified, training not tried"
    assert shown(healthy(), "github") == f"gradscope: healthy: model.py: {said}\n"
