"""The tables of attention and of experts: in every format for people, and only where there are any."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Attention, Report, Routing, ShortTraining, TaskGradients, TaskPair
from gradscope.report.shared.tasks import task_table
from tests.report.canned import healthy
from tests.report.pages import shown
from tests.rules.made import attention, head, source


def with_attention(*attentions: Attention) -> Report:
    report = healthy()
    assert report.flow is not None
    return replace(report, flow=replace(report.flow, attentions=attentions))


TWO = with_attention(
    attention(head(entropy=0.93), head(entropy=0.61), name="blocks[0].attn"),
    attention(head(largest_score=None), head(), name="blocks[1].attn", keys=1024),
)


def test_the_table_at_a_terminal() -> None:
    lines = shown(TWO).splitlines()
    start = next(i for i, line in enumerate(lines) if "attention" in line)
    assert [line.split() for line in lines[start - 1 : start + 3]] == [
        ["largest", "lowest"],
        ["attention", "heads", "keys", "|score|", "entropy", "head"],
        ["blocks[0].attn", "2", "12", "3", "0.77", "0.61"],
        ["blocks[1].attn", "2", "1,024", "3", "0.9", "0.9"],
    ]


def test_other_formats_have_it() -> None:
    assert "| `blocks[0].attn` | 2 | 12 | 3 | 0.77 | 0.61 |" in shown(TWO, "markdown")
    page = shown(TWO, "html")
    assert "<h2>Attention" in page or ">Attention<" in page
    assert "Every head" in page


def test_the_sharpest_are_shown_and_all_on_request() -> None:
    many = with_attention(*(attention(head(entropy=i / 20), name=f"b{i}.attn") for i in range(12)))
    assert "b7.attn" in shown(many)
    assert "b8.attn" not in shown(many)
    assert "4 more: --all shows them" in shown(many)
    assert "b8.attn" in shown(many, show_all=True)


def test_without_attention_there_is_no_table() -> None:
    for name in ("terminal", "markdown", "html"):
        assert "ttention" not in shown(healthy(), name)
        assert "ttention" not in shown(with_attention(attention(wrong_axis=None)), name)


ROUTED = Routing("blocks[1].router", source(3), 2, 64, 1, (60, 40, 28, 0))


def test_experts_have_their_own_table() -> None:
    report = healthy()
    assert report.flow is not None
    routed = replace(report, flow=replace(report.flow, routings=(ROUTED,)))
    lines = shown(routed).splitlines()
    start = next(i for i, line in enumerate(lines) if "router" in line)
    assert [line.split() for line in lines[start - 1 : start + 2]] == [
        ["chosen", "largest", "smallest", "never"],
        ["router", "experts", "per", "row", "share", "share", "chosen"],
        ["blocks[1].router", "4", "2", "47%", "0%", "1"],
    ]
    assert "| `blocks[1].router` | 4 | 2 | 47% | 0% | 1 |" in shown(routed, "markdown")
    assert "blocks[1].router" in shown(routed, "html")
    assert "Experts" not in shown(healthy(), "html")


def test_tasks_without_a_cosine_have_no_row() -> None:
    """Of one that is solved the gradient is 0."""
    training = ShortTraining(
        optimizer="adam", own=True, restored=False, steps=20, losses=(1.0, 0.9), start=1.0, end=0.9,
        batches=8, leaves=(), update_max=1e-3, fresh_update_max=1e-3,
    )  # fmt: skip
    unknown = TaskPair("a", "solved", None, 0.0, None, 0.0, ())
    known = replace(unknown, second="b", cosine=0.5)
    shared = replace(training, tasks=TaskGradients((), (unknown,), 8, (1.0, 0.9), (0.9, 0.8)))
    assert task_table(shared) is None
    both = TaskGradients((), (unknown, known), 8, (1.0, 0.9), (0.9, 0.8))
    table = task_table(replace(shared, tasks=both))
    assert table is not None
    assert "solved" not in table.said
