"""The page as a whole, and a part of it for a notebook: the verdict first, then what it rests on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from importlib.resources import files

from gradscope.language import heading, spoken
from gradscope.records import Comparison, Measurement, Outcome, RateSearch, Report, Suite
from gradscope.report.html import optimizers, rates, tables
from gradscope.report.html.cost import cost
from gradscope.report.html.curvature import curvature
from gradscope.report.html.findings import findings, not_judged
from gradscope.report.html.histograms import histograms
from gradscope.report.html.history import training_over_time
from gradscope.report.html.markup import NOTHING, Frame, Html, joined, listed, tag
from gradscope.report.html.memory import memory
from gradscope.report.html.notes import environment, notes
from gradscope.report.html.profile import profile
from gradscope.report.html.recurrences import recurrences
from gradscope.report.html.remedies import remedies
from gradscope.report.html.rule_pages import rule_pages
from gradscope.report.html.small_tables import sections
from gradscope.report.html.through_time import through_time
from gradscope.report.html.training import short_training
from gradscope.report.shared import optimizers as words, targets, units
from gradscope.report.shared.folding import flags_by_layer
from gradscope.report.shared.wording import headline

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
    about = suite.outcomes[0].target if suite.alone else targets.totals(suite)
    title = f"{heading(targets.verdict(suite)[0])}: {about}"
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
    return f"<!doctype html>\n{tag('html', head, body, lang=spoken())}\n"


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
                _headline(*targets.verdict(suite), counted, 1),
                tag("p", f"{targets.totals(suite)} {targets.unexamined(suite)}".strip(), class_="lede"),
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
    head = _headline(targets.NOT_JUDGED, "warning", outcome.target, frame.level)
    told = not_judged(outcome.error) if outcome.error is not None else NOTHING
    return joined([tag("header", _brand() if frame.level == 1 else NOTHING, head), told])


def _report(report: Report, frame: Frame) -> list[Html]:
    body: list[Html] = []
    if report.optimizers is not None:
        body.append(optimizers.comparison(report.optimizers, frame))
    if report.rates is not None:
        body.append(rates.rate_search(report.rates, frame))
    if report.history is not None:
        body.append(training_over_time(report.history, report.findings, frame))
    if report.flow is not None:
        body += _flow(report, report.flow, frame)
    return [
        _header(report, frame),
        findings(report, frame),
        remedies(report.remedies, frame),
        memory(report.memory, frame),
        curvature(report.curvature, frame),
        cost(report.cost, frame),
        *body,
        tables.gradients(report.gradients, frame),
        notes(report, frame),
        rule_pages(report.findings, frame),
        environment(report, frame),
    ]


def _flow(report: Report, flow: Measurement, frame: Frame) -> list[Html]:
    flags = flags_by_layer(report.findings)
    picture = profile(flow.layers, flags, frame)
    return [
        frame.section("network", "The network, layer by layer", picture),
        recurrences(flow.recurrences, frame),
        through_time(flow, frame),
        sections(flow, frame),
        short_training(report, frame),
        histograms(flow.histograms, frame),
        tables.lead_up(flow.origin, frame),
        frame.section("layers", "Layers", tables.layers(flow, flags, frame), tables.parameters(flow)),
    ]


def _header(report: Report, frame: Frame) -> Html:
    facts = NOTHING
    if report.optimizers is not None:
        (word, lede), style = _best(report.optimizers), "accent"
    elif report.rates is not None:
        (word, lede), style = _suggested(report.rates), "accent"
    else:
        found = headline(report)
        word, style, lede = found.verdict, found.style, f"{found.text[0].upper()}{found.text[1:]}."
        facts = _facts(report)
    brand = _brand() if frame.level == 1 else NOTHING
    return tag(
        "header",
        brand,
        _headline(word, style, report.target, frame.level),
        tag("p", lede, class_="lede"),
        facts,
    )


def _rate(found: RateSearch) -> str:
    rate = found.learning_rate
    return units.number(found.suggestion if rate is None else rate)


def _suggested(found: RateSearch) -> tuple[str, str]:
    return (_rate(found), words.suggestion(found)) if found.code else ("none", found.warning)


def _best(found: Comparison) -> tuple[str, str]:
    best = found.best
    if best is None:
        why = words.without_best(found)
        return "none", f"{why[0].upper()}{why[1:]}."
    rate = ""
    if best.learning_rate is not None:
        rate = f" at a learning rate of {units.number(best.learning_rate)}"
    kind = "Validation loss" if found.validated else "Loss"
    loss = f"{kind} {units.number(best.score(found.validated))}{rate}"
    return best.name, f"{loss}, {words.standing(found)}."


def _headline(word: str, style: str, about: str, level: int) -> Html:
    return tag(f"h{level}", tag("span", word, class_=style), " ", tag("code", about), class_="headline")


def _brand() -> Html:
    return tag("p", "gradscope", class_="brand")


def _facts(report: Report) -> Html:
    flow, loss = report.flow, units.cell(report.loss)
    if flow is None and report.loss is None and (report.history or report.memory or report.cost) is not None:
        return NOTHING
    if flow is None:
        return tag("dl", listed("loss", loss), class_="facts")
    facts = [
        ("loss", loss + (f" ± {units.number(flow.loss_spread)}" if flow.loss_spread is not None else ""))
    ]
    if flow.parameters:
        size = sum(parameter.size for parameter in flow.parameters)
        facts += [("gradient norm", units.cell(flow.gradient_norm)), ("parameters", units.count(size))]
    facts.append(("batch" if flow.batches == 1 else "batches", units.count(flow.batches)))
    return tag("dl", *(listed(name, value) for name, value in facts), class_="facts")
