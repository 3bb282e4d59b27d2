"""Finished sentences, made of messages in the ways in which programs make them."""

from __future__ import annotations

import pytest

from gradscope import language
from gradscope.language import matching
from gradscope.language.matching import Translator

KNOWN = {
    "The gradient of `{0}` is {1} times too large (limit {2}).": (
        "`{0}` の勾配は {1} 倍大きすぎます (しきい値 {2})。"
    ),
    "It shrinks to {0} at {1}: {2}": "{1} で {0} に縮みます: {2}",
    "It shrinks to {0}": "{0} に縮みます",
    "Lower the learning rate.": "学習率を下げてください。",
    "the weights are too small": "重みが小さすぎます",
    ", because {0}": "、{0} ため",
    "at {0}": "({0})",
    "time step": "時間ステップ",
    "nothing found": "検出なし",
    "training not tried": "学習は試していません",
    "{0} of {1}": "{1} のうち {0}",
    "layer": "層",
    "{0} error": "エラー {0} 件",
    "{0} errors": "エラー {0} 件",
    "{0} note": "注記 {0} 件",
    "{0} in {1}": "{1} の {0}",
    "{0} in {1} layers": "{0} ({1} 層)",
    "{0} on a {1} scale from {2} to {3}": "{0} は {1} 尺度 ({2} ～ {3})",
    "on a log scale": "対数尺度",
    "from {0} to {1}": "{0} から {1}",
    "loss": "損失",
    "log": "対数",
    "before and after {0} of {1}": "{1} の {0} の前後",
    "your optimizer": "あなたのオプティマイザ",
    "Your optimizer.": "あなたのオプティマイザ。",
    "{0} {1} made of pieces, and each is flat": "{0} {1} は断片からなり、それぞれ平らです",
    "{0} blocks every path from {1} to the loss.{2}": "{0} が {1} から損失への経路をすべて遮ります。{2}",
    "XLA counts {0} {1}": "XLA では {0} {1}",
    "take ReLU for {{}}": "{{}} の代わりに ReLU を使う",
    "not finite or empty": "有限でないか空",
    "output": "出力",
    "Write {{}} after {0}.": "{0} の後に {{}} と書いてください。",
    "Use one of: {0}.": "次のどれかを使ってください: {0}。",
    '"{0} {1}" is not a size.': '"{0} {1}" はサイズではありません。',
    "While {0}, your code raised {1}: {2}": "{0} の最中に、コードが {1} を送出しました: {2}",
    "tracing {0}": "{0} のトレース",
    "It is not JSON: {0} at line {1}.": "JSON ではありません: {1} 行目で {0}。",
    "{0} takes the whole of it": "{0} がそのすべてを占めます",
    "{0} ({1}) moves up and down": "{0} ({1}) が上下します",
    "is": "",
}


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(KNOWN)


@pytest.mark.parametrize(
    ("english", "japanese"),
    [
        ("Lower the learning rate.", "学習率を下げてください。"),
        (
            "The gradient of `a.b` is 3 times too large (limit 1).",
            "`a.b` の勾配は 3 倍大きすぎます (しきい値 1)。",
        ),
        (
            "The gradient of `w` is 3 times too large (limit 1). Lower the learning rate.",
            "`w` の勾配は 3 倍大きすぎます (しきい値 1)。学習率を下げてください。",
        ),
        (
            "It shrinks to 0.1 at m.py:3: the weights are too small",
            "m.py:3 で 0.1 に縮みます: 重みが小さすぎます",
        ),
        ("It shrinks to 0.1, because the weights are too small.", "0.1 に縮みます、重みが小さすぎますため。"),
        ("The weights are too small.", "重みが小さすぎます。"),
        ("Use one of: terminal, json and html.", "次のどれかを使ってください: terminal, json and html。"),
        ('"--limit my own size" is not a size.', '"--limit my own size" はサイズではありません。'),
        (
            "While tracing loss_fn, your code raised TypeError: got shapes, which do not fit.",
            "loss_fn のトレースの最中に、コードが TypeError を送出しました: got shapes, which do not fit。",
        ),
        (
            "It is not JSON: Expecting a comma delimiter here at line 7.",
            "JSON ではありません: 7 行目で Expecting a comma delimiter here。",
        ),
        ("some_policy takes the whole of it", "some_policy がそのすべてを占めます"),
        ("nothing found; training not tried", "検出なし; 学習は試していません"),
        ("12 time steps", "12 時間ステップ"),
        ("Write {} after x.", "x の後に {} と書いてください。"),
        ("3 of 5", "5 のうち 3"),
        ("2 errors, 1 note in 12 layers", "エラー 2 件、注記 1 件 (12 層)"),
        ("loss on a log scale from 0.1 to 7; 12 time steps", "損失は対数尺度 (0.1 ～ 7); 12 時間ステップ"),
        ("before and after 2 time steps of your optimizer", "あなたのオプティマイザの 2 時間ステップの前後"),
        ("`relu` are made of pieces, and each is flat", "`relu` は断片からなり、それぞれ平らです"),
        (
            "`round` blocks every path from `w` to the loss.",
            "`round` が `w` から損失への経路をすべて遮ります。",
        ),
        ("XLA counts 84.0 GFLOP nothing found", "XLA では 84.0 GFLOP 検出なし"),
        ("take ReLU for sigmoid", "sigmoid の代わりに ReLU を使う"),
        ("… 3 of 5", "… 5 のうち 3"),
    ],
)
def test_a_text_is_read_as_the_messages_that_it_was_made_of(
    translator: Translator, english: str, japanese: str
) -> None:
    assert translator.translate(english) == japanese


@pytest.mark.parametrize(
    "text",
    [
        "output",
        "layers[0].w",
        "A sentence of all that nobody knows.",
        "0.123",
        "",
        "`at m.py:3 it shrinks to nothing`",
        "``` ` {0} {{ }} ( [",
        "\n\n \t",
    ],
)
def test_what_is_not_known_stays_as_it_is(translator: Translator, text: str) -> None:
    assert translator.translate(text) == text


def test_code_in_a_value_is_never_translated(translator: Translator) -> None:
    assert "`the weights are too small`" in translator.translate(
        "The gradient of `the weights are too small` is 3 times too large (limit 1)."
    )


def test_a_single_word_is_translated_as_a_heading_only(translator: Translator) -> None:
    assert translator.translate("output") == "output"
    assert translator.heading("output") == "出力"
    assert translator.heading("layer:") == "層:"


def test_a_long_text_that_matches_everywhere_costs_a_bounded_number_of_trials() -> None:
    greedy = Translator({f"{{0}} a{n} {{1}} of {{2}}": f"{{2}}{{1}}{{0}}あ{n}" for n in range(30)})
    text = " ".join(f"x a{n % 30} y of z" for n in range(400))
    tried: list[str] = []
    whole = matching.matched
    try:
        matching.matched = lambda pattern, text: tried.append(text) or whole(pattern, text)  # type: ignore[func-returns-value]
        greedy.translate(text)
    finally:
        matching.matched = whole
    assert len(tried) < 100_000


def test_in_english_nothing_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "translator", None)  # a call would fail
    assert language.translate("Lower the learning rate.") == "Lower the learning rate."
    assert language.heading("layer") == "layer"


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja"}, "ja"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "ja_JP", "LANG": "C"}, "ja"),
        ({"LANG": "fr_FR"}, "en"),
        ({}, "en"),
    ],
)
def test_the_terminals_language_counts_where_it_is_known(variables: dict[str, str], found: str) -> None:
    assert language.of_environment(variables) == found
