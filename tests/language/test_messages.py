"""Sentences as the rules put them together, read with the catalogue that is shipped."""

from __future__ import annotations

import pytest

from gradscope.language.matching import translator

READ = {
    "names, and a verb that agrees with them": (
        "`a`, `b` and `c` do not reach the loss: no path of operations leads there.",
        "`a`, `b` と `c` は損失に届きません: そこへ通じる演算の経路がありません。",
    ),
    "brackets that a message has itself": (
        "`log` at 0 gives -inf (3 of 24 elements).",
        "0 での `log` の結果は -inf (24 要素のうち 3 個) です。",
    ),
    "a file's name is no end of a sentence": (
        "Random numbers for each example, of shape (96,), come from a key that is made of a number: they are "
        "the same at every step (drawn at m.py:3, m.py:4).",
        "サンプルごとの乱数 (形状は (96,)) が数値から作られた key から作られています: どのステップでも"
        "同じです (m.py:3, m.py:4 で生成)。",
    ),
    "a message that continues, after two values side by side": (
        "2 of the 4 units of `h` (50 %) are dead: for all 8 values of each in 1 batch they lie where the "
        "ReLU after it has a derivative of exactly 0; after 20 steps of your optimizer 3 are.",
        "`h` の 4 ユニットのうち 2 個 (50 %) が死んでいます: 1 バッチにわたる各ユニットの 8 個の値すべてが、"
        "後に続く ReLU の微分がちょうど 0 になる所にあります; "
        "あなたのオプティマイザの 20 ステップの後は 3 個です。",
    ),
    "a semicolon within a message": (
        "12 % of the outputs of `w` lie beyond ±2.6, where the derivative of the tanh after it is below a "
        "twentieth of its largest; after 20 steps of your optimizer 5 % do.",
        "`w` の出力の 12 % が ±2.6 を超える所 (後に続く tanh の微分が最大値の 20 分の 1 を下回る所) "
        "にあります; "
        "あなたのオプティマイザの 20 ステップの後は 5 % です。",
    ),
    "a name at the end": (
        "Likely symptoms, not reported separately: dead-units at `a`; batch-not-overfitted.",
        "症状と考えられるため個別には報告しないもの: dead-units (`a` で); batch-not-overfitted。",
    ),
    "numbers, and a task of the loss": (
        "1 further pair in the JSON.",
        "ほか 1 組は JSON にあります。",
    ),
    "widths": (
        "Over widths: 3 steps of your optimizer from 3 starts at each",
        "幅ごと: 各幅で 3 個の開始点から、あなたのオプティマイザの 3 ステップ",
    ),
    "a single word that is a value": (
        "All of the rows of weights have hardly a second key.",
        "重みの行のすべては、2 つ目のキーをほとんど見ていません。",
    ),
    "a picture's description": (
        "activation rms over 4 layers on a log scale: 1.15 at the first, 0.3 at the last, "
        "0.3 to 1.15 over all",
        "4 層にわたる活性値 rms (対数目盛): 最初の層で 1.15、最後の層で 0.3、全体で 0.3 ～ 1.15",
    ),
    "a sentence after another, which is a value": (
        "`exp` at 800 gives inf. It is an infinity that is divided away: 1 / inf = 0, and so is "
        "the derivative.",
        "800 での `exp` の結果は inf です。これは除算によって消える無限大です: 1 / inf = 0 で、"
        "微分も同様です。",
    ),
    "a value that begins the sentence": (
        "the cotangent of `slope` is 0.5 times the right one: a factor of 2 is missing",
        "`slope` の余接ベクトルは正しい値の 0.5 倍です: 係数 2 が欠けています",
    ),
    "lines of a function that repeat": (
        "Lines 11 to 14 of `loss_fn` repeat 12 times: together 90% of the operations, and each further one "
        "adds 3 FLOP.",
        "`loss_fn` の 11～14 行目は 12 回繰り返されます: 合わせて演算の 90% を占め、1 つ増えるごとに 3 FLOP "
        "増えます。",
    ),
    "one line that repeats": (
        "line 11 of `loss_fn` repeats 12 times: together 90% of the operations, and each further one adds "
        "3 FLOP.",
        "`loss_fn` の 11 行目は 12 回繰り返されます: 合わせて演算の 90% を占め、1 つ増えるごとに 3 FLOP "
        "増えます。",
    ),
    "a function with the name of a word": (
        "`step` runs 80 times: together 90% of the operations, and each further step adds 3 FLOP.",
        "`step` は 80 回実行されます: 合わせて演算の 90% を占め、ステップが 1 つ増えるごとに 3 FLOP "
        "増えます。",
    ),
    "two changes of a start, or a normalization": (
        "Start `b` at 0 and draw its weights from `jax.nn.initializers.he_normal()`, or put a normalization "
        "(LayerNorm, BatchNorm) before the function.",
        "`b` の初期値を 0 にし、重みを `jax.nn.initializers.he_normal()` で初期化するか、関数の前に正規化 "
        "(LayerNorm、BatchNorm) を置いてください。",
    ),
    "a remedy with two ways": (
        "Leave the output of `head` without tanh, or scale the targets into [-1, 1].",
        "`head` の出力に tanh を適用しないか、目標値を [-1, 1] の範囲にスケーリングしてください。",
    ),
    "a part of a run": ("compile 7 of 10 blocks", "コンパイル (10 ブロック中 7)"),
    "a hand-made gradient": (
        "Between what each layer gets and backpropagation are 85 and 98 degrees at `[0]`; and 4 more layers "
        "(before and after 20 steps).",
        "各層が受け取る勾配と誤差逆伝播法の勾配とのなす角は、`[0]` で 85 と 98 度; ほか 4 層です "
        "(20 ステップの前と後)。",
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_a_message_of_the_rules_is_read_as_a_whole(kind: str) -> None:
    english, japanese = READ[kind]
    assert translator("ja").translate(english) == japanese
