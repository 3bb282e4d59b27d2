"""A record is what the standard library makes of a frozen dataclass with slots."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace
from typing import Any

import pytest

from gradscope.records import Source
from gradscope.records.record import record


@record
class Own:
    name: str
    values: tuple[float, ...] = ()
    source: Source | None = field(default_factory=lambda: Source("m.py", 1, "x"))


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    values: tuple[float, ...] = ()
    source: Source | None = field(default_factory=lambda: Source("m.py", 1, "x"))


@pytest.mark.parametrize("given", [("a",), ("a", (1.0, float("nan"))), ("a", (), None)])
def test_a_record_reads_as_a_frozen_dataclass_does(given: Any) -> None:
    own, plain = Own(*given), Plain(*given)
    assert repr(own) == repr(plain).replace("Plain", "Own")
    assert asdict(own) == asdict(plain)
    assert hash(own) == hash(plain)
    assert own == Own(*given)
    assert own != Own("b")
    assert own != plain
    assert {own: 1}[replace(own)] == 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_is_equal(again: Any) -> None:
    assert again(Own("a", (2.0,))) == Own("a", (2.0,))


def test_no_field_is_set_twice_or_deleted_and_none_is_added() -> None:
    own = Own("a")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        own.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
        del own.name
    with pytest.raises(AttributeError):
        own.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="name"):
        Own()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), (("a", (), None, 1), {}), (("a",), {"name": "b"}), (("a",), {"other": 1})]
)
def test_a_record_refuses_fields_that_it_does_not_have(values: Any, named: Any) -> None:
    for kind in (Own, Plain):
        with pytest.raises(TypeError):
            kind(*values, **named)
