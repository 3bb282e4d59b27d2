"""What is wrong and what to do: each finding with its line of the user's code, and where it stands."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from gradscope.language import ENGLISH, between, spoken
from gradscope.records import BaselineResult, BaselineStatus, Excerpt, Finding, Report, Source, TargetError
from gradscope.report.html import rule_pages
from gradscope.report.html.markup import (
    NOTHING,
    Frame,
    Html,
    code,
    details,
    escaped,
    joined,
    listed,
    prose,
    tag,
)
from gradscope.report.shared import units
from gradscope.report.shared.baseline import seeds_with
from gradscope.report.shared.wording import ranked

STATUSES = {
    BaselineStatus.NEW: "new since the baseline",
    BaselineStatus.UNCHANGED: "known: in the baseline",
    BaselineStatus.WORSE: "worse than in the baseline",
}


def findings(report: Report, frame: Frame) -> Html:
    """All of them, the gravest first."""
    found = ranked(report.findings)
    places = {layer.name: index for index, layer in enumerate(report.flow.layers if report.flow else ())}
    pages = rule_pages.known(found)
    page = FindingsPage(places, pages, report.excerpts, frame)
    listing = tag("ol", *(_finding(each, page) for each in found)) if found else NOTHING
    return frame.section("findings", "Findings", listing, _baseline(report.baseline, frame))


@dataclass(frozen=True, slots=True)
class FindingsPage:
    """What a finding refers to on its page."""

    places: Mapping[str, int]
    """The row of each layer."""
    pages: Container[str]
    """Rules whose text is kept."""
    excerpts: Sequence[Excerpt]
    frame: Frame


def _finding(finding: Finding, page: FindingsPage) -> Html:
    name, frame = finding.rule, page.frame
    if name in page.pages:
        name = tag("a", name, href=f"#{rule_pages.anchor(name, frame)}")
    severity = finding.severity.value
    known = " known" if finding.baseline_status is BaselineStatus.UNCHANGED else ""
    return tag(
        "li",
        tag(
            "article",
            frame.heading(
                2, tag("span", severity, class_=severity), " ", name, *_where(finding, page.places, frame)
            ),
            _status(finding),
            tag("p", prose(finding.message)),
            source(finding.source, page.excerpts),
            tag("p", tag("b", "What to do"), " ", prose(finding.remedy), class_="remedy"),
            _evidence(finding),
            class_=f"finding {severity}-edge{known}",
        ),
    )


def _where(finding: Finding, places: Mapping[str, int], frame: Frame) -> list[str]:
    name = finding.layer or finding.parameter
    if name is None:
        return []
    if finding.layer is not None and finding.layer in places:
        return [between(), tag("a", code(name), href=f"#{frame.id(f'l{places[finding.layer]}')}")]
    return [between(), code(name)]


def _status(finding: Finding) -> Html:
    parts = [STATUSES[finding.baseline_status]] if finding.baseline_status is not None else []
    if finding.votes is not None:
        parts.append(seeds_with(finding.votes))
    return tag("p", " · ".join(parts), class_="quiet") if parts else NOTHING


def source(place: Source | None, excerpts: Sequence[Excerpt] = ()) -> Html:
    """The line of the user's code under its file and number, among its neighbours where they are known."""
    if place is None:
        return NOTHING
    caption = tag("figcaption", code(place))
    numbered = _lines(place, excerpts)
    if not numbered:
        return tag("figure", caption, class_="source")
    lines = (
        tag(
            "span",
            tag("span", str(number), class_="line-number"),
            code(text),
            class_=None if number == place.line else "beside",
        )
        for number, text in numbered
    )
    return tag("figure", caption, tag("pre", joined(lines, "\n")), class_="source")


def _lines(place: Source, excerpts: Sequence[Excerpt]) -> list[tuple[int, str]]:
    for each in excerpts:
        index = place.line - each.first
        if (
            each.file == place.file
            and 0 <= index < len(each.lines)
            and each.lines[index].strip() == place.text
        ):
            text = textwrap.dedent("\n".join(each.lines)).split("\n")
            return list(enumerate(text, each.first))
    return [(place.line, place.text)] if place.text else []


def _evidence(finding: Finding) -> Html:
    if not finding.evidence:
        return NOTHING
    numbers = (
        listed(
            name.replace("_", " ") if spoken() == ENGLISH else escaped(name),
            units.number(value) if isinstance(value, float) else str(value),
        )
        for name, value in finding.evidence.items()
    )
    return details("The numbers behind it", tag("dl", *numbers, class_="facts small"))


def _baseline(found: BaselineResult | None, frame: Frame) -> Html:
    if found is None:
        return NOTHING
    parts = [tag("p", "Compared with the baseline ", code(found.file), ".")]
    if found.fixed:
        fixed = (
            tag(
                "li",
                tag("span", "fixed:", class_="healthy"),
                " ",
                each.rule,
                *_place(each.layer or each.parameter),
            )
            for each in found.fixed
        )
        parts.append(tag("ul", *fixed))
    if found.stale:
        parts.append(tag("p", tag("b", "The baseline is stale."), " ", prose(found.stale)))
    return joined([frame.heading(2, "Against the baseline"), *parts])


def _place(name: str | None) -> list[str]:
    return [between(), code(name)] if name else []


def not_judged(error: TargetError) -> Html:
    """What happened, why we think so, what to do."""
    shown = "\n".join(escaped(line) for line in error.details.splitlines())
    return joined(
        [
            tag("p", prose(" ".join(part for part in (error.what, error.why) if part))),
            tag("pre", Html(shown), tabindex=0) if shown else NOTHING,
            tag("p", tag("b", "What to do"), " ", prose(error.fix), class_="remedy")
            if error.fix
            else NOTHING,
        ]
    )
