"""Values travel unchanged or not at all, and hostile bytes do no harm."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Any

import msgpack as untyped_msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, strategies as st

from puckstream.errors import BadFrame, NotSendable, RemoteError, StreamError
from puckstream.transports.codec import MAX_DEPTH, MAX_ITEMS, MAX_ODD_KEYS, Codec, UserType

msgpack: Any = untyped_msgpack

KEYS = st.one_of(st.text(), st.binary(), st.integers(-(2**63), 2**64 - 1), st.booleans())
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
VALUES = st.recursive(
    st.one_of(PLAIN, st.sets(KEYS), st.frozensets(KEYS)),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(KEYS, inner),
        st.tuples(inner),
        st.tuples(inner, inner),
    ),
    max_leaves=20,
)


@dataclass(frozen=True)
class Invoice:
    """A type of the application."""

    number: int
    lines: tuple[str, ...]


INVOICE = UserType(
    "billing.Invoice/1",
    Invoice,
    lambda invoice: [invoice.number, invoice.lines],
    lambda data: Invoice(*data),
)


class Ref:
    """Stands in for an actor's ref."""

    def __init__(self, number: int) -> None:
        self.number = number


class Refs:
    """Knows one kind of ref."""

    def pack(self, ref: Any) -> list[Any] | None:
        return ["here", ref.number] if isinstance(ref, Ref) else None

    def unpack(self, data: list[Any]) -> Any:
        return Ref(data[1])


@given(VALUES)
def test_a_value_comes_out_as_it_went_in(value: Any) -> None:
    codec = Codec()
    assert codec.unpack(codec.pack(value)) == value


def test_tuples_and_lists_stay_apart_at_every_depth() -> None:
    codec = Codec()
    value = ["a", ("b", ["c", ("d", {"e": (1, [2])})])]
    assert repr(codec.unpack(codec.pack(value))) == repr(value)


GOLDEN = {
    "93a16101c0": ["a", 1, None],
    "d60292a16101": ("a", 1),
    "d5059101": {1},
    "d5069101": frozenset({1}),
    "81a16bc40100": {"k": b"\x00"},
    "cb3ff8000000000000": 1.5,
}


@pytest.mark.parametrize(("golden", "value"), GOLDEN.items())
def test_the_bytes_of_version_1_never_change(golden: str, value: Any) -> None:
    assert Codec().pack(value).hex() == golden
    assert Codec().unpack(bytes.fromhex(golden)) == value


def test_the_bytes_of_errors_types_and_refs_never_change() -> None:
    codec = Codec(Refs(), [INVOICE], [ValueError])
    assert codec.pack(ValueError("no")).hex() == "c7140394aa56616c75654572726f72a26e6f91a26e6f80"
    assert codec.pack(Ref(7)).hex() == "c7070192a46865726507"
    assert (
        codec.pack(Invoice(7, ())).hex() == "c7181092b162696c6c696e672e496e766f6963652f319207d40290"
    )


def test_a_ref_comes_out_as_a_ref() -> None:
    codec = Codec(Refs())
    (ref,) = codec.unpack(codec.pack((Ref(12),)))
    assert isinstance(ref, Ref)
    assert ref.number == 12


def test_a_type_that_is_registered_on_both_sides_travels() -> None:
    codec = Codec(types=[INVOICE])
    value = {"invoice": Invoice(3, ("a", "b"))}
    assert codec.unpack(codec.pack(value)) == value


def test_a_type_that_only_the_sender_knows_is_refused_by_name() -> None:
    data = Codec(types=[INVOICE]).pack(Invoice(1, ()))
    with pytest.raises(BadFrame, match=r"unknown type 'billing.Invoice/1'"):
        Codec().unpack(data)


def test_an_error_of_a_registered_class_comes_out_with_its_attributes() -> None:
    codec = Codec(errors=[StreamError, KeyError])
    error = StreamError("rate_limit", "slow down", status=429, retryable=True, retry_after=1.5)
    came = codec.unpack(codec.pack(error))
    assert type(came) is StreamError
    assert (came.kind, came.status, came.retryable, came.retry_after) == (
        "rate_limit",
        429,
        True,
        1.5,
    )
    assert str(came) == str(error)
    assert repr(codec.unpack(codec.pack(KeyError("k")))) == "KeyError('k')"


def test_an_error_of_another_class_comes_out_as_a_remote_error_however_often_it_travels() -> None:
    codec = Codec()
    came = codec.unpack(codec.pack(OSError("disk")))
    again = codec.unpack(codec.pack(came))
    for error in (came, again):
        assert type(error) is RemoteError
        assert (error.type_name, error.message) == ("OSError", "disk")


def test_what_an_error_holds_and_cannot_travel_stays_behind() -> None:
    codec = Codec(errors=[ValueError])
    error = ValueError("no", threading.Lock())
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    error.code = 7  # type: ignore[attr-defined]
    came = codec.unpack(codec.pack(error))
    assert came.args == (str(error),)
    assert vars(came) == {"code": 7}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "object cannot be sent to another node: its type is not registered"),
        ([{"deep": threading.Lock()}], "lock"),
        (1 << 64, "int cannot be sent to another node: it does not fit into 64 bits"),
        (print, "its type is not registered"),
        (int, "its type is not registered"),
        (Ref(1), "Ref cannot be sent"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(value: Any, why: str) -> None:
    codec = Codec()
    with pytest.raises(NotSendable, match=why):
        codec.pack(value)
    assert codec.unpack(codec.pack("as before")) == "as before"


def nested(depth: int, wrap: Any) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


def test_what_is_nested_too_deeply_is_refused_by_the_sender() -> None:
    codec = Codec()
    deepest = nested(MAX_DEPTH, lambda value: (value,))
    assert codec.unpack(codec.pack(deepest)) == deepest
    for hostile in (
        nested(MAX_DEPTH + 1, lambda value: (value,)),
        nested(5_000, lambda value: (value,)),
        nested(5_000, lambda value: [value]),
    ):
        with pytest.raises(NotSendable):
            codec.pack(hostile)


def extension(code: int, data: bytes) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(code, data))
    return packed


def nest(depth: int) -> bytes:
    data = b"\x90"
    for _ in range(depth):
        data = b"\x91" + extension(2, data)
    return data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="a code that does not exist"),
        pytest.param(b"\x90\x90", id="two values"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="an array of four billion"),
        pytest.param(b"\xdd" + (MAX_ITEMS + 1).to_bytes(4, "big") + b"\xc0" * (MAX_ITEMS + 1)),
        pytest.param(b"\x91" * 1_000_000, id="a million arrays in each other"),
        pytest.param(nest(MAX_DEPTH + 1), id="extension types too deep"),
        pytest.param(nest(10_000), id="extension types far too deep"),
        pytest.param(b"\x81\x90\x01", id="a list as a key"),
        pytest.param(extension(2, b"\x01"), id="a tuple of a number"),
        pytest.param(extension(5, msgpack.packb([[1]])), id="a set of lists"),
        pytest.param(extension(3, msgpack.packb(["ValueError"])), id="an error without its parts"),
        pytest.param(extension(3, msgpack.packb(["ValueError", "", 1, 2])), id="an error of junk"),
        pytest.param(extension(16, msgpack.packb(["os.system", "id"])), id="an unknown type"),
        pytest.param(extension(1, msgpack.packb(["node", 1])), id="a ref where there are none"),
        pytest.param(extension(40, b"\x90"), id="an unknown extension type"),
        pytest.param(b"\xa2\xff\xff", id="text that is none"),
    ],
)
def test_hostile_bytes_are_a_bad_frame(data: bytes) -> None:
    codec = Codec(types=[INVOICE], errors=[ValueError])
    with pytest.raises(BadFrame):
        codec.unpack(data)
    assert codec.unpack(codec.pack("as before")) == "as before"


def test_a_map_may_have_a_bounded_number_of_keys_that_are_no_text() -> None:
    codec = Codec()
    most = dict.fromkeys(range(MAX_ODD_KEYS))
    assert codec.unpack(codec.pack(most)) == most
    with pytest.raises(BadFrame, match="no text"):
        codec.unpack(codec.pack(most | {MAX_ODD_KEYS: None}))
    texts = dict.fromkeys(map(str, range(MAX_ITEMS)))
    assert codec.unpack(codec.pack(texts)) == texts


@given(st.binary(max_size=200))
def test_random_bytes_are_a_value_or_a_bad_frame(data: bytes) -> None:
    with contextlib.suppress(BadFrame):
        Codec(Refs(), [INVOICE], [ValueError]).unpack(data)


@given(VALUES, st.data())
def test_a_value_with_a_byte_changed_is_a_value_or_a_bad_frame(value: Any, data: Any) -> None:
    codec = Codec(Refs(), [INVOICE], [ValueError])
    packed = bytearray(codec.pack((value, Invoice(1, ("a",)), Ref(3), ValueError("no"))))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadFrame):
        codec.unpack(bytes(packed))


def test_threads_share_a_codec() -> None:
    codec = Codec()
    values = [(number, [str(number)] * 50, {"n": (number,)}) for number in range(40)]
    failed: list[Any] = []

    def work(value: Any) -> None:
        came = [codec.unpack(codec.pack(value)) for _ in range(200)]
        failed.extend(other for other in came if other != value)

    workers = [threading.Thread(target=work, args=(value,)) for value in values[:4]]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
