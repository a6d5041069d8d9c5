from __future__ import annotations

import base64
import string
from typing import Any

import pytest

from puckstream.backends.base import Chunk
from puckstream.errors import InvalidOption, StreamExpired, StreamNotFound, StreamRunning
from puckstream.streams.log import Log, StreamRecord
from puckstream.streams.shelf import Shelf, check_id, generate_id, topic


def start(shelf: Shelf, stream_id: str, now: float = 0.0, text: str = "") -> StreamRecord:
    record = StreamRecord(Log(stream_id, now))
    record.log.add(Chunk("content", text), now)
    shelf.add(record)
    return record


def ended(shelf: Shelf, stream_id: str, now: float = 0.0, text: str = "") -> StreamRecord:
    record = start(shelf, stream_id, now, text)
    record.log.cancel("user", now)
    return record


# ----------------------------------------------------------------------------- running, ended


def test_a_running_stream_is_found_and_listed() -> None:
    shelf = Shelf()
    one, two = start(shelf, "1"), start(shelf, "2")
    assert shelf.get("1", 0.0) is one
    assert shelf.find("2", 0.0) is two
    assert shelf.running() == ("1", "2")
    assert shelf.ended() == ()
    assert len(shelf) == 2


def test_a_stream_moves_to_the_ended_by_itself_and_stays_readable() -> None:
    shelf = Shelf()
    record = start(shelf, "1")
    start(shelf, "2")
    record.log.cancel("user", 5.0)
    assert shelf.running() == ("2",)
    assert shelf.ended() == ("1",)
    assert shelf.get("1", 5.0) is record
    assert len(shelf) == 2


def test_a_record_that_has_ended_before_it_is_filed_is_kept_as_ended() -> None:
    shelf = Shelf()
    record = StreamRecord(Log("1", 0.0))
    record.log.cancel("user", 0.0)
    shelf.add(record)
    assert (shelf.running(), shelf.ended()) == ((), ("1",))


def test_an_id_never_seen_is_not_found() -> None:
    shelf = Shelf()
    start(shelf, "10")
    with pytest.raises(StreamNotFound, match="'1'"):
        shelf.get("1", 0.0)
    assert shelf.find("1", 0.0) is None


def test_a_running_id_is_refused_and_nothing_changes() -> None:
    shelf = Shelf()
    record = start(shelf, "1")
    with pytest.raises(StreamRunning, match="if_running"):
        start(shelf, "1")
    assert shelf.get("1", 0.0) is record
    assert record.generation == 1
    assert start(shelf, "2").generation == 2


def test_an_id_used_again_after_its_end_replaces_the_old_stream() -> None:
    shelf = Shelf()
    old = ended(shelf, "1", 0.0, "x" * 1000)
    new = start(shelf, "1", 1.0)
    assert shelf.get("1", 1.0) is new
    assert (shelf.running(), shelf.ended(), shelf.size) == (("1",), (), 0)
    assert (old.generation, new.generation) == (1, 2)
    new.log.cancel("user", 2.0)
    assert shelf.get("1", 2.0) is new
    assert shelf.size == new.log.size


def test_an_id_used_again_after_its_expiry_is_found_again() -> None:
    shelf = Shelf(retention=10.0)
    ended(shelf, "1", 0.0)
    shelf.expire(10.0)
    new = start(shelf, "1", 11.0)
    assert shelf.get("1", 11.0) is new


# --------------------------------------------------------------------------------- retention


def test_an_ended_stream_is_kept_for_five_minutes_by_default_then_expired() -> None:
    shelf = Shelf()
    record = ended(shelf, "1", 100.0)
    assert shelf.get("1", 399.999) is record
    with pytest.raises(StreamExpired, match="retention is over"):
        shelf.get("1", 400.0)
    with pytest.raises(StreamExpired):
        shelf.get("1", 100_000.0)
    assert shelf.find("1", 400.0) is None
    assert (len(shelf), shelf.size) == (0, 0)


def test_a_running_stream_never_expires() -> None:
    shelf = Shelf(retention=1.0, max_ended=0, max_bytes=0)
    record = start(shelf, "1", 0.0)
    assert shelf.expire(1e9) == []
    assert shelf.get("1", 1e9) is record


def test_expire_drops_what_is_due_in_the_order_of_the_end() -> None:
    shelf = Shelf(retention=10.0)
    records = {name: start(shelf, name) for name in "abc"}
    for now, name in enumerate("cab"):
        records[name].log.cancel("user", float(now))
    assert shelf.ended() == ("c", "a", "b")
    assert shelf.expire(9.9) == []
    assert shelf.expire(11.0) == ["c", "a"]
    assert shelf.expire(11.0) == []
    assert shelf.ended() == ("b",)


def test_without_retention_a_stream_expires_with_its_end() -> None:
    shelf = Shelf(retention=0.0)
    ended(shelf, "1", 5.0)
    with pytest.raises(StreamExpired):
        shelf.get("1", 5.0)


def test_the_number_of_ended_streams_is_bounded_and_the_oldest_end_goes_first() -> None:
    shelf = Shelf(max_ended=2)
    long = start(shelf, "long", 0.0)
    for name in "abc":
        ended(shelf, name, 1.0)
    assert shelf.ended() == ("b", "c")
    long.log.cancel("user", 2.0)
    assert shelf.ended() == ("c", "long")
    with pytest.raises(StreamExpired):
        shelf.get("a", 2.0)


def test_the_bytes_of_ended_streams_are_bounded() -> None:
    size = ended(Shelf(), "x", 0.0, "t" * 1000).log.size
    shelf = Shelf(max_bytes=3 * size)
    for name in "abcde":
        ended(shelf, name, 0.0, "t" * 1000)
        assert shelf.size <= 3 * size
    assert shelf.ended() == ("c", "d", "e")
    assert shelf.size == 3 * size


def test_the_last_stream_to_end_stays_however_large() -> None:
    shelf = Shelf(max_bytes=10)
    ended(shelf, "small")
    record = ended(shelf, "large", 0.0, "t" * 1000)
    assert shelf.get("large", 0.0) is record
    assert shelf.ended() == ("large",)


def test_the_bytes_counted_in_are_the_bytes_counted_out() -> None:
    shelf = Shelf()
    record = ended(shelf, "1", 0.0, "t" * 1000)
    record.log._end_size += 5000
    shelf.expire(1e6)
    assert shelf.size == 0


def test_expired_ids_are_remembered_only_so_many() -> None:
    shelf = Shelf(max_ended=0)
    for number in range(10_001):
        ended(shelf, str(number))
    with pytest.raises(StreamNotFound):
        shelf.get("0", 0.0)
    with pytest.raises(StreamExpired):
        shelf.get("1", 0.0)
    with pytest.raises(StreamExpired):
        shelf.get("10000", 0.0)
    assert len(shelf._expired) == 10_000


@pytest.mark.parametrize("option", ["retention", "max_ended", "max_bytes", "tombstone_ttl"])
@pytest.mark.parametrize("value", [-1, float("nan"), "300", None, True])
def test_impossible_limits_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}="):
        Shelf(**{option: value})


def test_retention_may_be_for_ever() -> None:
    shelf = Shelf(retention=float("inf"))
    ended(shelf, "1", 0.0)
    assert shelf.expire(1e12) == []


# -------------------------------------------------------------------- cancel before the start


def test_a_cancel_before_the_start_is_found_once() -> None:
    shelf = Shelf()
    shelf.forbid("1", 0.0)
    assert not shelf.take_tombstone("10", 1.0)
    assert shelf.take_tombstone("1", 1.0)
    assert not shelf.take_tombstone("1", 1.0)


def test_a_cancel_before_the_start_waits_two_minutes() -> None:
    shelf = Shelf()
    shelf.forbid("1", 0.0)
    shelf.forbid("2", 1.0)
    assert not shelf.take_tombstone("1", 120.0)
    assert shelf.take_tombstone("2", 120.9)


def test_cancelling_again_before_the_start_renews_the_time() -> None:
    shelf = Shelf()
    shelf.forbid("1", 0.0)
    shelf.forbid("2", 50.0)
    shelf.forbid("1", 100.0)
    assert not shelf.take_tombstone("2", 171.0)
    assert shelf.take_tombstone("1", 219.0)


def test_cancels_before_the_start_are_bounded_and_the_oldest_goes_first() -> None:
    shelf = Shelf()
    for number in range(10_001):
        shelf.forbid(str(number), 0.0)
    assert len(shelf._tombstones) == 10_000
    assert not shelf.take_tombstone("0", 0.0)
    assert shelf.take_tombstone("1", 0.0)


@pytest.mark.parametrize("stream_id", ["", "x" * 201, "a\nb", 5, None])
def test_a_cancel_of_an_impossible_id_is_ignored(stream_id: Any) -> None:
    shelf = Shelf()
    shelf.forbid(stream_id, 0.0)
    assert len(shelf._tombstones) == 0


# ------------------------------------------------------------------------------- ids, topics


@pytest.mark.parametrize("stream_id", ["1", "chat 42", "x" * 200, "äöü/…:,&=?", "日本", "🙂", "-"])
def test_any_printable_text_is_an_id(stream_id: str) -> None:
    assert check_id(stream_id) == stream_id


@pytest.mark.parametrize(
    "stream_id", ["", "x" * 201, "a\nb", "a\0", "\x7f", "\u200b", "\ud800", 5, None, b"1", ["1"]]
)
def test_an_impossible_id_is_refused_with_its_value(stream_id: Any) -> None:
    with pytest.raises(InvalidOption, match="stream_id=") as refused:
        check_id(stream_id)
    assert len(str(refused.value)) < 200
    if not isinstance(stream_id, str) or len(stream_id) <= 200:
        assert refused.value.value == stream_id


def test_a_record_with_an_impossible_id_is_refused() -> None:
    shelf = Shelf()
    with pytest.raises(InvalidOption, match="stream_id="):
        start(shelf, "a\tb")
    assert len(shelf) == 0


def test_generated_ids_are_url_safe_distinct_and_valid() -> None:
    ids = {generate_id() for _ in range(1000)}
    assert len(ids) == 1000
    allowed = set(string.ascii_letters + string.digits + "-_")
    assert all(set(each) <= allowed and each[0].isalpha() for each in ids)
    assert all(check_id(each) == each and len(each) == 23 for each in ids)


def test_generated_ids_hold_all_of_the_randomness_passed_in() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    stream_id = generate_id(random_bytes)
    assert asked == [16]
    assert base64.urlsafe_b64decode(stream_id[1:] + "==") == bytes(range(16))
    assert stream_id == generate_id(random_bytes)


def test_a_topic_belongs_to_one_id() -> None:
    assert topic("1") == "puck:stream:1"
    assert len({topic(each) for each in ("1", "10", "1:0", ":1")}) == 4


# -------------------------------------------------------------------------------------- cost


def test_dropping_many_streams_takes_time_for_each_only_once() -> None:
    """Ten thousand ends push out ten thousand streams; no operation looks through the table."""
    shelf = Shelf(max_ended=1000)
    for number in range(11_000):
        ended(shelf, str(number), float(number) / 100)
    assert shelf.ended()[0] == "10000"
    assert len(shelf) == 1000
    assert len(shelf.expire(1e6)) == 1000
    assert len(shelf) == 0
    assert repr(shelf) == "<Shelf: 0 running, 0 ended>"
