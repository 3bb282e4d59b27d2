"""A page taken apart: its elements, its text, and whether each tag that opens is closed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "wbr", "col"}
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "[bold]layer[/bold]",
    "\x1b[31mred\x1b[0m",
    "a‮b‏c⁦d",
    "]]></style></title></textarea>",
    "&amp; &lt;b&gt; &#60;i&#62;",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "`a` ``b",
    "\ud800lone",
)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.elements}

    def every(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append((int(tag[1]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert len(found) == len(attrs), f"an attribute twice in {tag}: {attrs}"
        self.elements.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if self.open and any(tag == f"h{self.headings[-1][0]}" for tag in self.open if self.headings):
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data
