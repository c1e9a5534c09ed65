"""The names read from opcodes are those an unpickler would ask for."""

from __future__ import annotations

import collections
import datetime
import fractions
import io
import pickle
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jacprobe.checkpoint.opcodes import list_names, scan_pickle

LEAVES = st.sampled_from(
    [1, -(2**70), 2.5, None, True, "text", "a.b\nc d", b"bytes", collections.Counter, datetime.date(2020, 1, 1),
     io.BytesIO, fractions.Fraction(1, 3), types.SimpleNamespace(a=1), collections.deque([1]), print, {1, 2}]
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner))


class Recorder(pickle.Unpickler):
    """The oracle: the standard unpickler, which says what it looked up."""

    def __init__(self, stream):
        super().__init__(stream, fix_imports=False)
        self.names = set()

    def find_class(self, module, name):
        self.names.add(f"{module}.{name}")
        return super().find_class({"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module), name)


@given(VALUES, st.integers(0, 5))
def test_names_are_those_the_unpickler_looks_up(value, protocol):
    pickled = pickle.dumps(value, protocol=protocol)
    recorder = Recorder(io.BytesIO(pickled))
    recorder.load()
    facts = scan_pickle(io.BytesIO(pickled))
    assert facts.names == recorder.names
    assert facts.protocol == (protocol if protocol >= 2 else 0)


def test_a_scan_stops_after_one_pickle():
    stream = io.BytesIO(pickle.dumps(17) + pickle.dumps(collections.Counter))
    assert scan_pickle(stream).integer == 17
    assert scan_pickle(stream).names == {"collections.Counter"}


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"<html>", b"cposix\nsystem\n", b"\x80\x02X\xff\xff\xff\x7fa"])
def test_an_incomplete_pickle_is_an_error(data):
    with pytest.raises(ValueError, match=r"pickle exhausted|opcode b'<' unknown|no newline found|expected \d+ bytes"):
        scan_pickle(io.BytesIO(data))


def test_listed_names_are_sorted_cut_and_printable():
    assert list_names(["b", "a\n", "c" * 100], limit=2) == "a?, b and 1 more"
    assert list_names(["c" * 100]) == "c" * 80
