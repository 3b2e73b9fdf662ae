"""Messages and profiles, without a process."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.messages import (
    FromWorker,
    Outcome,
    Profile,
    ProtocolError,
    ToWorker,
    TransferStats,
    decode_profile,
    encode_profile,
)

text = st.text(max_size=40)
raw = st.binary(max_size=60)
profiles = st.builds(
    Profile,
    impersonate=st.none() | text,
    fingerprint=st.none() | st.dictionaries(text, text, max_size=3),
    verify=st.booleans(),
    proxy=st.none() | text,
    proxy_user=st.none() | raw,
    proxy_password=st.none() | raw,
    proxy_headers=st.lists(st.tuples(raw, raw), max_size=3),
)


@given(profiles)
def test_a_profile_comes_back_as_it_was(profile: Profile) -> None:
    assert decode_profile(encode_profile(profile)) == profile


@given(profiles, profiles)
def test_two_profiles_share_an_encoding_only_if_they_are_equal(
    one: Profile, other: Profile
) -> None:
    same = encode_profile(one) == encode_profile(other)
    assert not same or one == other


@given(st.binary(max_size=100))
def test_what_is_no_profile_is_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode_profile(data), Profile)


@pytest.mark.parametrize("messages", [ToWorker, FromWorker], ids=["to worker", "from worker"])
def test_the_messages_of_a_direction_have_different_tags(messages: Any) -> None:
    types: list[Any] = [msgspec.inspect.type_info(message) for message in messages.__args__]
    tags = [message.tag for message in types]
    assert len(set(tags)) == len(tags)
    assert None not in tags


def test_each_outcome_comes_from_a_worker_and_says_of_which_request() -> None:
    assert set(Outcome.__args__) <= set(FromWorker.__args__)
    assert all("id" in outcome.__struct_fields__ for outcome in Outcome.__args__)


@pytest.mark.parametrize(
    ("connected_at", "handshake_at", "seconds"),
    [(None, None, None), (0.25, None, None), (None, 0.5, None), (0.25, 0.75, 0.5)],
)
def test_the_time_of_a_handshake_begins_with_the_tcp_connection(
    connected_at: float | None, handshake_at: float | None, seconds: float | None
) -> None:
    stats = TransferStats(connected_at=connected_at, handshake_at=handshake_at)
    assert stats.handshake_time == seconds
