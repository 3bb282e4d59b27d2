"""What is wrong and what to do: each finding with its line of the user's code, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Against, Finding, NotJudged, Report, Severity, Source, Standing
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

STANDINGS = {
    Standing.NEW: "new since the baseline",
    Standing.KNOWN: "known: in the baseline",
    Standing.WORSE: "worse than in the baseline",
}


def findings(report: Report, frame: Frame) -> Html:
    """All of them, the gravest first."""
    ranked = sorted(report.findings, key=lambda finding: finding.severity.rank)
    places = {layer.name: index for index, layer in enumerate(report.measurement.layers)}
    listing = tag("ol", *(_finding(each, places, frame) for each in ranked)) if ranked else NOTHING
    return frame.section("findings", "Findings", listing, _against(report.against, frame))


def counts(found: Sequence[Finding]) -> str:
    """`1 error, 2 warnings`."""
    numbers = [(severity, sum(each.severity is severity for each in found)) for severity in Severity]
    parts = [units.counted(number, severity.value) for severity, number in numbers if number]
    return ", ".join(parts) or "nothing found"


def _finding(finding: Finding, places: dict[str, int], frame: Frame) -> Html:
    severity = finding.severity.value
    known = " known" if finding.standing is Standing.KNOWN else ""
    return tag(
        "li",
        tag(
            "article",
            frame.heading(
                2, tag("span", severity, class_=severity), " ", finding.rule, *_where(finding, places, frame)
            ),
            _stands(finding),
            tag("p", prose(finding.message)),
            source(finding.source),
            tag("p", tag("b", "What to do"), " ", prose(finding.remedy), class_="remedy"),
            _evidence(finding),
            class_=f"finding {severity}-edge{known}",
        ),
    )


def _where(finding: Finding, places: dict[str, int], frame: Frame) -> list[str]:
    name = finding.layer or finding.parameter
    if name is None:
        return []
    if finding.layer in places:
        return [" in ", tag("a", code(name), href=f"#{frame.id(f'l{places[finding.layer]}')}")]
    return [" in ", code(name)]


def _stands(finding: Finding) -> Html:
    parts = [STANDINGS[finding.standing]] if finding.standing is not None else []
    if finding.votes is not None:
        parts.append(f"in {finding.votes.found} of {units.counted(finding.votes.of, 'seed')}")
    return tag("p", " · ".join(parts), class_="quiet") if parts else NOTHING


def source(place: Source | None) -> Html:
    """The line of the user's code under its file and number."""
    if place is None:
        return NOTHING
    line = (
        [tag("pre", tag("span", str(place.line), class_="line-number"), code(place.text))]
        if place.text
        else []
    )
    return tag("figure", tag("figcaption", code(place)), *line, class_="source")


def _evidence(finding: Finding) -> Html:
    if not finding.evidence:
        return NOTHING
    numbers = (
        listed(name.replace("_", " "), units.number(value) if isinstance(value, float) else str(value))
        for name, value in finding.evidence.items()
    )
    return details("The numbers behind it", tag("dl", *numbers, class_="facts small"))


def _against(against: Against | None, frame: Frame) -> Html:
    if against is None:
        return NOTHING
    parts = [tag("p", "Compared with the baseline ", code(against.baseline), ".")]
    if against.fixed:
        fixed = (
            tag(
                "li",
                tag("span", "fixed", class_="healthy"),
                " ",
                each.rule,
                *_place(each.layer or each.parameter),
            )
            for each in against.fixed
        )
        parts.append(tag("ul", *fixed))
    if against.stale:
        parts.append(tag("p", tag("b", "The baseline is stale."), " ", prose(against.stale)))
    return joined([frame.heading(2, "Against the baseline"), *parts])


def _place(name: str | None) -> list[str]:
    return [" in ", code(name)] if name else []


def not_judged(trouble: NotJudged) -> Html:
    """What happened, why we think so, what to do."""
    shown = "\n".join(escaped(line) for line in trouble.details.splitlines())
    return joined(
        [
            tag("p", prose(" ".join(part for part in (trouble.what, trouble.why) if part))),
            tag("pre", Html(shown), tabindex=0) if shown else NOTHING,
            tag("p", tag("b", "What to do"), " ", prose(trouble.fix), class_="remedy")
            if trouble.fix
            else NOTHING,
        ]
    )
