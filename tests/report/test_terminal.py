"""The report at a terminal, compared with golden text; run with `UPDATE_GOLDEN=1` to write it anew."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import pytest

from gradscope.records import Report, Skipped
from gradscope.report.shared.folding import FOLDED_ABOVE
from gradscope.report.terminal.lines import fold, width_of, wrap
from gradscope.report.terminal.optimizers import folded_code
from tests.report.canned import CANNED, HOSTILE, broken, deep, healthy, layer, report as report_of, vanishing
from tests.report.pages import compare, shown


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", CANNED)
def test_the_report_reads_as_the_golden_file_does(name: str, width: int) -> None:
    compare(f"terminal_{name}_{width}.txt", shown(CANNED[name](), width=width))


def test_a_terminal_without_unicode_gets_plain_letters() -> None:
    text = shown(broken(), encoding="ascii", width=120)
    assert text.isascii()
    compare("terminal_broken_ascii.txt", text)


@pytest.mark.parametrize("name", CANNED)
def test_markdown_reads_as_the_golden_file_does(name: str) -> None:
    compare(f"markdown_{name}.txt", shown(CANNED[name](), name="markdown"))


def test_the_json_of_two_layers_reads_as_the_golden_file_does() -> None:
    sick = deep(2)
    noted = replace(sick, notes=("params are float64",), rules=("vanishing-gradient",))
    compare("json_two_layers.txt", shown(noted, name="json"))


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", CANNED)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    lines = shown(CANNED[name](), width=width, show_all=True).splitlines()
    assert [line for line in lines if width_of(line) > width] == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [30, 80, 120])
def test_no_layer_name_is_cut(width: int) -> None:
    page = shown(broken(), width=width)
    rows = page.split("\n\n")[1].splitlines()
    start, end = 2, max(len(fold(row[2:].partition("  ")[0], 999)[0]) for row in rows)
    column = "".join(row[start : start + max(24, end)].split(" ")[0] for row in rows)
    for name in ("frozen.very_long_module_name.with_many_parts.attention.output_projection", "embedding"):
        assert name in column


def with_kinds(kind: str | None) -> Report:
    layers = tuple(replace(each, kind=kind) for each in healthy().flow.layers)
    return replace(healthy(), flow=replace(healthy().flow, layers=layers))


def test_the_class_of_a_module_stands_beside_the_name_where_room_is_left() -> None:
    wide, narrow = (shown(with_kinds("Linear"), width=width) for width in (120, 60))
    assert "layers[0]  Linear   4,160" in wide
    assert "Linear" not in narrow
    assert narrow == shown(healthy(), width=60)
    assert shown(with_kinds(None), width=120) == shown(healthy(), width=120)
    for width in range(30, 140):
        assert max(map(width_of, shown(with_kinds("Linear"), width=width).splitlines())) <= width


def test_the_class_of_a_module_is_shown_escaped() -> None:
    page = shown(with_kinds("[red]\x1b[31mLinear"), width=140)
    assert "\x1b[31m" not in page
    assert "Linear" in page


def test_columns_go_one_by_one_and_delta_stays() -> None:
    heads = [
        shown(healthy(), width=width).split("\n\n")[1].splitlines()[1].split() for width in range(120, 29, -1)
    ]
    counts = [len(head) for head in heads]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 8
    assert all(head[-1] == "rms" for head in heads)


def test_everything_is_shown_at_120_columns() -> None:
    head = " ".join(shown(broken(), width=120).split("\n\n")[1].splitlines()[1].split())
    assert head == "layer params rms norm rms weight grad finite rms rms"


def test_colour_is_added_and_nothing_else() -> None:
    plain, colored = shown(broken()), shown(broken(), color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@pytest.mark.parametrize("color", [False, True])
def test_what_a_model_is_named_does_nothing_to_the_terminal(color: bool) -> None:
    report = replace(broken(), target=HOSTILE)
    for view in ({}, {"quiet": True}, {"show_all": True}):
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown(report, color=color, **view)).replace("\n", "")
        assert text.isprintable()
        assert "[red]enc\\x1b[31m" in text


def test_a_deep_model_is_folded_and_its_worst_layers_are_not() -> None:
    report = deep(100)
    report = replace(report, findings=(vanishing(report.flow.layers[50]),))
    page = shown(report)
    assert "encoder.blocks[50].mlp" in page
    assert "… 47 more layers (δ 2.35e-12 to" in page
    assert "encoder.blocks[20].mlp" not in page
    assert "encoder.blocks[20].mlp" in shown(report, show_all=True)


def test_layers_that_are_alike_are_called_so() -> None:
    report = report_of("m.py", tuple(layer(f"b[{i}]", 1e-3 * (1 + i / 99)) for i in range(100)))
    assert "… 94 layers alike (δ 0.00103 to 0.00197)" in shown(report)


def test_a_model_is_folded_only_where_that_saves_rows() -> None:
    for depth in (FOLDED_ABOVE, FOLDED_ABOVE + 1):
        assert ("--all shows every layer" in shown(deep(depth))) == (depth > FOLDED_ABOVE)
    every_other = deep(30)
    flagged = tuple(vanishing(of) for of in every_other.flow.layers[::2])
    assert "… 1 " not in shown(replace(every_other, findings=flagged))


def test_many_findings_are_cut_short_and_counted() -> None:
    report = deep(100)
    report = replace(report, findings=tuple(vanishing(of) for of in report.flow.layers))
    page = shown(report)
    assert page.count("error vanishing-gradient in") == 20
    assert "… 80 more findings: --all shows every one" in page
    assert shown(report, show_all=True).count("error vanishing-gradient in") == 100


def test_quiet_shows_the_verdict_and_the_findings() -> None:
    page = shown(deep(), quiet=True)
    assert page.startswith("✗ sick  deep.py:loss_fn: 1 error in 100 layers\n\nerror vanishing-gradient")
    assert "grad" not in page.splitlines()[1]
    assert "loss 2.30" not in page
    assert shown(healthy(), quiet=True) == (
        "✓ healthy  model.py: nothing found in 4 layers; gradients not verified, training not tried\n"
    )


def test_a_loop_that_is_named_after_its_place_says_it_once() -> None:
    (cell, _) = broken().flow.recurrences
    named = replace(cell, name="scan at model.py:23")
    report = replace(healthy(), flow=replace(healthy().flow, recurrences=(named,)))
    page = shown(report)
    assert page.count("model.py:23") == 1
    assert "  _, hs = jax.lax.scan(step, h0, xs)\n" in page


def test_a_report_without_layers_is_a_report() -> None:
    assert "nothing found in 0 layers" in shown(report_of("m.py", ()))


def test_words_are_wrapped_and_names_are_folded_whole() -> None:
    assert wrap("to be or not to be", 6) == ["to be", "or not", "to be"]
    assert "".join(fold("encoder.layers[3].attention", 10)) == "encoder.layers[3].attention"
    assert fold("encoder.layers[3].attention", 12) == ["encoder.", "layers[3].", "attention"]
    assert [width_of(piece) for piece in fold("日本語の層", 4)] == [4, 4, 2]


def test_a_note_is_not_listed_as_something_that_was_not_judged() -> None:
    left_out = Skipped("2 of 5 batches", "the data ended")
    noted = replace(healthy(), notes=("params are float64",), skipped=(left_out,))
    lines = shown(noted, width=80).splitlines()
    notes, others = lines.index("notes"), lines.index("not judged")
    assert lines[notes + 1] == "  params are float64"
    assert lines[others + 1] == "  2 of 5 batches: the data ended"
    assert "note:" not in "".join(lines)


CODE = (
    "optimizer = optax.chain(optax.clip_by_global_norm(0.5), "
    "optax.contrib.schedule_free_adamw(optax.warmup_cosine_decay_schedule(0.0, 3.2e-05, 20, 200)))"
)


@pytest.mark.parametrize("width", range(30, 201))
def test_a_line_of_code_means_the_same_when_it_is_folded(width: int) -> None:
    for code in (CODE, "optimizer = candidates['mine']({'a': 0.0032})", "optimizer = optimizer  # as it is"):
        pieces = folded_code(code, width - 2)
        assert max(map(width_of, pieces)) <= width - 2
        trees = [ast.dump(ast.parse(text)) for text in ("\n".join(pieces), code)]
        assert trees[0] == trees[1], pieces


def test_the_loss_that_decides_the_rank_stays_on_the_narrowest_screen() -> None:
    found = CANNED["compared"]().optimizers
    assert found is not None
    rows = tuple(replace(row, validation_loss=0.25) for row in found.contestants)
    page = shown(replace(CANNED["compared"](), optimizers=replace(found, contestants=rows)), width=34)
    assert "validation" in page
    assert "0.250" in page


def test_verbose_shows_the_numbers_that_a_rule_went_by() -> None:
    assert "decay_per_layer 0.21" not in shown(deep())
    (finding,) = deep().findings
    told = shown(deep(), verbose=True, width=100)
    assert all(name in told for name in finding.evidence)
    assert max(map(width_of, told.splitlines())) <= 100
