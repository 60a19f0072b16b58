"""Attributes in normal form, and what makes two of them the same series."""

from __future__ import annotations

import collections
import functools
import signal
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_sdk.core.attributes import INVALID, MAX_ATTRIBUTES, MAX_VALUE_LENGTH, UNPRINTABLE, identity, normalise


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Odd:
    def __str__(self) -> str:
        return "odd"


def test_order_does_not_matter() -> None:
    assert normalise({"a": 1, "b": 2}) == normalise({"b": 2, "a": 1})


def test_true_and_1_and_1_0_and_the_string_are_four_values() -> None:
    assert 4 == len({identity(normalise({"k": value})) for value in (True, 1, 1.0, "1")})
    assert 4 == len({identity(normalise({"k": [value]})) for value in (True, 1, 1.0, "1")})


def test_a_list_and_a_tuple_are_one_value() -> None:
    assert identity(normalise({"k": [1, "a"]})) == identity(normalise({"k": (1, "a")}))


@pytest.mark.parametrize("nothing", [None, {}, types.MappingProxyType({})])
def test_none_and_empty_are_the_same(nothing: Any) -> None:
    assert normalise(nothing) == ()


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (Odd(), "odd"),
        (Nasty(), UNPRINTABLE),
        (None, "None"),
        (b"x", "b'x'"),
        (float("nan"), "nan"),
        ("\ud800", "?"),
        ("x" * (MAX_VALUE_LENGTH + 1), "x" * MAX_VALUE_LENGTH),
    ],
)
def test_odd_values_become_text(given_value: object, expected: str) -> None:
    assert (("k", expected),) == normalise({"k": given_value})


def test_keys_that_are_not_strings_become_strings() -> None:
    assert (("1", "a"), ("None", "b"), ("b'k'", "c")) == normalise({1: "a", None: "b", b"k": "c"})


@pytest.mark.parametrize("unreadable", ["text", 5, [("a", 1)], object()])
def test_what_is_no_mapping_has_a_fixed_replacement(unreadable: object) -> None:
    assert INVALID == normalise(unreadable)


def test_a_mapping_that_raises_has_a_fixed_replacement() -> None:
    class Broken(collections.UserDict[str, str]):
        def items(self) -> Any:
            raise RuntimeError("no")

    assert INVALID == normalise(Broken(a="1"))


def test_too_many_attributes_are_cut() -> None:
    assert MAX_ATTRIBUTES == len(normalise({f"k{i}": i for i in range(MAX_ATTRIBUTES * 2)}))


def test_a_list_that_contains_itself_ends() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert normalise({"k": endless})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.text() | st.integers() | st.none(), anything, max_size=5))
def test_whatever_comes_the_normal_form_is_sorted_hashable_encodable_and_stable(attributes: dict[Any, Any]) -> None:
    pairs = normalise(attributes)
    assert [key for key, _ in pairs] == sorted({key for key, _ in pairs})
    hash(identity(pairs))
    repr(pairs).encode()
    assert identity(pairs) == identity(normalise(dict(pairs)))


def test_an_int_beyond_64_bits_becomes_text() -> None:
    assert (("k", str(2**63)),) == normalise({"k": 2**63})
    assert (("k", UNPRINTABLE),) == normalise({"k": 10**5000})


@pytest.mark.parametrize("handler", ["function", "partial", "object"])
def test_what_a_signal_handler_raises_passes_however_the_handler_is_made(handler: str) -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*args: object) -> None:
        raise Interrupt

    class Callable_:
        def __call__(self, *args: object) -> None:
            raise Interrupt

    class Slow:
        def __str__(self) -> str:
            signal.raise_signal(signal.SIGUSR1)
            return "slow"

    made = {"function": interrupt, "partial": functools.partial(interrupt), "object": Callable_()}[handler]
    before = signal.signal(signal.SIGUSR1, made)
    try:
        with pytest.raises(Interrupt):
            normalise({"k": Slow()})
    finally:
        signal.signal(signal.SIGUSR1, before)
