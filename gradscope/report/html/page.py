"""The page as a whole, and a part of it for a notebook: the verdict first, then what it rests on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from importlib.resources import files

from gradscope.records import Outcome, Report, Suite
from gradscope.report.html import optimizers, rates, tables
from gradscope.report.html.findings import counts, findings, not_judged
from gradscope.report.html.histograms import histograms
from gradscope.report.html.markup import NOTHING, Frame, Html, joined, listed, tag
from gradscope.report.html.notes import environment, notes
from gradscope.report.html.profile import profile
from gradscope.report.html.recurrences import recurrences
from gradscope.report.shared import units
from gradscope.report.terminal import gradients as verified, optimizers as words, targets
from gradscope.report.terminal.layer_table import flags_by_layer

MOST_WHOLE = 40
"""Beyond so many targets those of which nothing was found are told without their tables and drawings."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""No script, no request, no form: a report of an unknown model is opened without a thought."""


@cache
def style() -> Html:
    """The sheet without its indentation; every rule in it holds below `.gradscope` only."""
    text = (files(__package__) / "style.css").read_text(encoding="utf-8")
    return Html("\n".join(line.strip() for line in text.splitlines() if line.strip()))


def page(suite: Suite) -> str:
    """A whole document."""
    title = f"{suite.verdict}: {suite.outcomes[0].target if suite.alone else targets.totals(suite)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} - gradscope"),
        tag("style", style(), Html("\nhtml,body{margin:0;padding:0}")),
    )
    body = tag("body", tag("main", _suite(suite), class_="gradscope page"))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def fragment(report: Report) -> str:
    """One report as a part of another page: its style touches nothing else, its ids are its own."""
    bare = joined(_report(report, Frame(level=2)))
    # Two reports in one notebook must not answer to each other's links; the same report is the same text.
    prefix = f"g{hashlib.sha256(bare.encode()).hexdigest()[:8]}-"
    body = _report(report, Frame(prefix, level=2))
    return tag("div", tag("style", style()), *body, class_="gradscope part")


def _suite(suite: Suite) -> Html:
    if suite.only is not None:
        return joined(_report(suite.only, Frame()))
    if suite.alone:
        return _outcome(suite.outcomes[0], Frame())
    ids = [f"t{place}" for place in range(1, len(suite.outcomes) + 1)]
    sections = (
        tag(
            "section",
            _outcome(outcome, Frame(f"{name}-", level=2), brief=len(ids) > MOST_WHOLE),
            id=name,
            class_="target",
            aria_label=outcome.target,
        )
        for name, outcome in zip(ids, suite.outcomes, strict=True)
    )
    counted = units.counted(len(suite.outcomes), "target")
    left_out = "Of targets without findings the layers are left out here; each by itself is shown whole."
    brief = tag("p", left_out, class_="quiet") if len(ids) > MOST_WHOLE else NOTHING
    return joined(
        [
            tag(
                "header",
                _brand(),
                _headline(suite.verdict, counted, 1),
                tag("p", targets.totals(suite), class_="lede"),
                brief,
            ),
            tables.several(suite, ids),
            *sections,
        ]
    )


def _outcome(outcome: Outcome, frame: Frame, brief: bool = False) -> Html:
    if outcome.report is not None:
        report = replace(outcome.report, target=outcome.target)
        if brief and not report.findings:
            return joined([_header(report, frame), notes(report, frame)])
        return joined(_report(report, frame))
    headline = _headline(targets.NOT_JUDGED, outcome.target, frame.level)
    told = not_judged(outcome.not_judged) if outcome.not_judged is not None else NOTHING
    return joined([tag("header", _brand() if frame.level == 1 else NOTHING, headline), told])


def _report(report: Report, frame: Frame) -> list[Html]:
    measured = report.measurement
    flags = flags_by_layer(report.findings)
    if measured.optimizers is not None:
        body = [optimizers.comparison(measured.optimizers, frame)]
    elif measured.rate_search is not None:
        body = [rates.rate_search(measured.rate_search, frame)]
    else:
        picture = profile(measured.layers, flags, frame)
        body = [
            frame.section("network", "The network, layer by layer", picture),
            recurrences(measured.recurrences, frame),
            histograms(measured.histograms, frame),
            tables.lead_up(measured.origin, frame),
            frame.section(
                "layers", "Layers", tables.layers(measured, flags, frame), tables.parameters(measured)
            ),
            tables.gradients(measured, frame),
        ]
    return [
        _header(report, frame),
        findings(report, frame),
        *body,
        notes(report, frame),
        environment(report, frame),
    ]


def _header(report: Report, frame: Frame) -> Html:
    brand = _brand() if frame.level == 1 else NOTHING
    measured = report.measurement
    if measured.optimizers is not None or measured.rate_search is not None:
        word, lede = _chosen(report)
        return tag(
            "header", brand, _headline(word, report.target, frame.level), tag("p", lede, class_="lede")
        )
    verify_alone = bool(measured.gradients) and not measured.layers
    where = (
        verified.tally(measured.gradients) if verify_alone else units.counted(len(measured.layers), "layer")
    )
    text = f"{counts(report.findings).capitalize()} in {where}."
    headline = _headline(report.verdict, report.target, frame.level)
    return tag("header", brand, headline, tag("p", text, class_="lede"), _facts(report))


def _chosen(report: Report) -> tuple[str, str]:
    found = report.measurement.optimizers
    if found is None:
        search = report.measurement.rate_search
        assert search is not None
        if not search.code:
            return "none", search.warning
        return units.number(search.suggestion), words.suggestion(search)
    best = found.best
    if best is None:
        return "none", f"None of {units.counted(len(found.contestants), 'optimizer')} lowers the loss."
    rate = ""
    if best.learning_rate is not None:
        rate = f" at a learning rate of {units.number(best.learning_rate)}"
    kind = "Validation loss" if found.validated else "Loss"
    loss = f"{kind} {units.number(best.score(found.validated))}{rate}"
    return best.name, f"{loss}, best of {units.counted(len(found.contestants), 'optimizer')}."


def _headline(word: str, about: str, level: int) -> Html:
    kind = {"sick": "error", "healthy": "healthy", targets.NOT_JUDGED: "warning"}.get(word, "accent")
    return tag(f"h{level}", tag("span", word, class_=kind), " ", tag("code", about), class_="headline")


def _brand() -> Html:
    return tag("p", "gradscope", class_="brand")


def _facts(report: Report) -> Html:
    measured = report.measurement
    spread = measured.loss_spread
    loss = units.cell(measured.loss) + (f" ± {units.number(spread)}" if spread is not None else "")
    facts = [("loss", loss)]
    if measured.parameters:
        size = sum(parameter.size for parameter in measured.parameters)
        facts += [("gradient norm", units.cell(measured.gradient_norm)), ("parameters", units.count(size))]
    facts.append(("batch" if measured.batches == 1 else "batches", units.count(measured.batches)))
    return tag("dl", *(listed(name, value) for name, value in facts), class_="facts")
