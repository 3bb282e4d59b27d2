"""Operations between devices, read from texts as XLA prints them. No JAX."""

from __future__ import annotations

from gradscope.workload.hlo import exchanges, size_of


def program(*lines: str, others: str = "") -> str:
    body = "\n".join(f"  {line}" for line in lines)
    head = 'HloModule m, is_scheduled=true, num_partitions=8\n\nFileNames\n1 "a.py"\n\n'
    return (
        f"{head}{others}\nENTRY %main (p: f32[4]) -> f32[4] {{\n  %p = f32[4]{{0}} parameter(0)\n{body}\n}}\n"
    )


def told(text: str) -> list[tuple[str, int, int, bool]]:
    return [(each.kind, each.size, each.times, each.open) for each in exchanges(text)]


def test_bytes_are_those_of_the_shape() -> None:
    assert size_of("f32[16,512]{1,0:T(8,128)S(5)}") == 4 * 16 * 512
    assert size_of("(bf16[8]{0}, /*index=1*/pred[3], s4[3], c64[2], u32[])") == 16 + 3 + 2 + 16 + 4
    assert size_of("f8e4m3fn[10]") == 10
    assert size_of("(token[], f32[<=8])") == 32


def test_one_is_told_with_its_operand_and_what_it_is_for() -> None:
    line = '%ar = f32[4]{0} all-reduce(%p), replica_groups={}, to_apply=%add, metadata={op_name="a/b" x=1}'
    (found,) = exchanges(program(line))
    assert (found.kind, found.size, found.op_name) == ("all-reduce", 16, "a/b")
    assert "replica_groups={}" in found.attributes


def test_each_of_several_that_were_joined_keeps_its_name() -> None:
    found = exchanges(
        program(
            "%q = bf16[2,3]{1,0} copy(%p)",
            '%ar = (f32[4]{0}, bf16[2,3]{1,0}) all-reduce(%p, %q), to_apply=%add, metadata={op_name="(a:b)"}',
            '%one = f32[4]{0} get-tuple-element(%ar), index=0, metadata={op_name="a"}',
            '%two = bf16[2,3]{1,0} get-tuple-element(%ar), index=1, metadata={op_name="b"}',
        )
    )
    assert [(each.op_name, each.size) for each in found] == [("a", 16), ("b", 12)]


def test_an_exchange_in_pieces_is_one() -> None:
    pieces = "%a2a = (f32[4]{0}, f32[4]{0}) all-to-all(%p, %p), replica_groups={{0,1}}"
    assert told(program(pieces)) == [("all-to-all", 32, 1, False)]


def test_one_that_is_started_and_awaited_counts_once() -> None:
    assert told(
        program(
            "%s = (f32[4]{0}, f32[32]{0}) all-gather-start(%p), dimensions={0}",
            "%d = f32[32]{0} all-gather-done(%s)",
        )
    ) == [("all-gather", 16, 1, False)]
    wrapped = "%wrapped (q: f32[4]) -> f32[2] {\n  %q = f32[4]{0} parameter(0)\n"
    wrapped += "  ROOT %rs = f32[2]{0} reduce-scatter(%q), dimensions={0}, to_apply=%add\n}\n"
    text = program(
        "%s = ((f32[4]{0}), f32[2]{0}) async-start(%p), calls=%wrapped",
        "%u = ((f32[4]{0}), f32[2]{0}) async-update(%s), calls=%wrapped",
        "%d = f32[2]{0} async-done(%u), calls=%wrapped",
        others=wrapped,
    )
    assert told(text) == [("reduce-scatter", 16, 1, False)]


BODY = "%body (q: f32[4]) -> f32[4] {\n  %q = f32[4]{0} parameter(0)\n"
BODY += "  ROOT %cp = f32[4]{0} collective-permute(%q), source_target_pairs={{0,1}}\n}\n"
BODY += "%cond (r: f32[4]) -> pred[] {\n  %r = f32[4]{0} parameter(0)\n}\n"


def test_a_loop_counts_its_steps_and_one_without_a_known_number_counts_once() -> None:
    known = 'backend_config={"known_init_step":{"init":"0"},"known_trip_count":{"n":"12"}}'
    loop = "%w = f32[4]{0} while(%p), condition=%cond, body=%body"
    assert told(program(f"{loop}, {known}", others=BODY)) == [("collective-permute", 16, 12, False)]
    assert told(program(loop, others=BODY)) == [("collective-permute", 16, 1, True)]
    outer = f"%outer (o: f32[4]) -> f32[4] {{\n  %o = f32[4]{{0}} parameter(0)\n  {loop}, {known}\n}}\n"
    nested = (
        loop.replace("%body", "%outer").replace("(%p)", "(%p)")
        + ', backend_config={"known_trip_count":{"n":"3"}}'
    )
    assert told(program(nested, others=BODY + outer.replace("(%p)", "(%o)")))[0][2] == 36


def test_of_the_branches_of_a_condition_the_one_that_exchanges_most_counts() -> None:
    quiet = "%quiet (q: f32[4]) -> f32[4] {\n  ROOT %q = f32[4]{0} parameter(0)\n}\n"
    for branches in (
        "branch_computations={%quiet, %body}",
        "true_computation=%body, false_computation=%quiet",
    ):
        line = f"%c = f32[4]{{0}} conditional(%p, %p, %p), {branches}"
        assert told(program(line, others=BODY + quiet)) == [("collective-permute", 16, 1, False)]


def test_a_function_that_is_called_twice_counts_twice() -> None:
    calls = [f"%c{n} = f32[4]{{0}} call(%p), to_apply=%body" for n in (1, 2)]
    assert len(told(program(*calls, others=BODY))) == 2
