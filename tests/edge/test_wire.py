"""Texts become messages or errors with a code, and nothing a sender writes is worse than an error."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.core.events import Ping, Report
from streamer.edge import wire
from streamer.edge.wire import Ack, Nack, Received, Route, RouteStop, RouteStore, Welcome, WireError, decode_frame

PING = {"type": "ping", "seq": 7, "fix_ms": 1794560405000, "lat": 36.1, "lng": -115.1}
REPORT = {"type": "report", "id": "r-1", "report": "on_duty", "fix_ms": 1794560405000}
PROTOCOL_PING = (
    b'{"type":"ping","seq":412,"fix_ms":1794560405000,"lat":36.12691,"lng":-115.17022,"accuracy_m":8.0,'
    b'"speed_mps":11.6,"heading_deg":271.0,"battery":0.83}'
)
PROTOCOL_REPORT = (
    '{"type":"report","id":"0f8c","report":"picked_up","order_ids":["o-118"],"assignment":931,"fix_ms":1794560405000}'
)


def the_error(frame: str | bytes) -> WireError:
    decoded = decode_frame(frame)
    assert len(decoded) == 1
    assert isinstance(decoded[0], WireError), decoded
    return decoded[0]


def a_frame(without: str = "", **changes: object) -> str:
    return json.dumps({name: value for name, value in {**PING, **changes}.items() if name != without})


def test_the_ping_of_the_protocol_is_read() -> None:
    assert decode_frame(PROTOCOL_PING) == [
        Ping(1794560405000, 36.12691, -115.17022, "", 412, 8.0, 11.6, 271.0, 0.83),
    ]


def test_the_report_of_the_protocol_is_read() -> None:
    assert decode_frame(PROTOCOL_REPORT) == [
        Report("0f8c", "picked_up", 1794560405000, order_ids=("o-118",), assignment=931)
    ]


def test_unknown_fields_are_ignored() -> None:
    assert decode_frame(a_frame(altitude_m=610, wifi={"ssid": ["x"]})) == decode_frame(a_frame())


def test_an_array_keeps_its_order_and_may_mix_pings_and_reports() -> None:
    frame = json.dumps([PING, REPORT, {**PING, "seq": 8}])
    assert [type(item) for item in decode_frame(frame)] == [Ping, Report, Ping]


def test_500_pings_fit_and_501_do_not() -> None:
    many = [{**PING, "seq": number} for number in range(500)]
    assert [item.seq for item in decode_frame(json.dumps(many)) if isinstance(item, Ping)] == list(range(500))
    assert the_error(json.dumps([*many, PING])).code == "too_large"


def test_a_bad_item_is_refused_alone() -> None:
    frame = json.dumps([PING, {**PING, "seq": 8, "lat": 91}, {**REPORT, "report": "asleep"}, {**PING, "seq": 9}])
    first, second, third, fourth = decode_frame(frame)
    assert isinstance(first, Ping)
    assert isinstance(second, WireError)
    assert (second.code, second.seq) == ("bad_coordinate", 8)
    assert isinstance(third, WireError)
    assert (third.code, third.id) == ("bad_field", "r-1")
    assert isinstance(fourth, Ping)


def test_an_item_with_nan_does_not_spoil_its_neighbours() -> None:
    first, second = decode_frame(f"[{a_frame()}, {a_frame(seq=8).replace('36.1', 'NaN')}]")
    assert isinstance(first, Ping)
    assert isinstance(second, WireError)
    assert (second.code, second.seq) == ("bad_coordinate", 8)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "bad_json"), (" ", "bad_json"), ("{", "bad_json"), ("[", "bad_json"), ("{}}", "bad_json"),
        ("nonsense", "bad_json"), ("'single'", "bad_json"), ("\ufeff" + a_frame(), "bad_json"),
        (b"\xff\xfe", "bad_json"), (b"\x00", "bad_json"), (a_frame().encode("utf-16"), "bad_json"),
        ("3", "bad_json"), ("null", "bad_json"), ("true", "bad_json"), ('"ping"', "bad_json"),
        ("[3]", "bad_json"), ("[[]]", "bad_json"), ("[null]", "bad_json"), ("[]", "bad_field"),
        ("[" * 100_000, "bad_json"), ("{\"a\":" * 100_000, "bad_json"),
        (a_frame()[:-1] + ',"x":' + "[" * 50_000 + "]" * 50_000 + "}", "bad_json"),
        ("9" * 5_000, "bad_json"), ("{}", "bad_field"), (a_frame() + a_frame(), "bad_json"),
        (a_frame(without="type"), "bad_field"), (a_frame(type="tick"), "bad_field"), (a_frame(type=3), "bad_field"),
        (a_frame(type="command"), "bad_field"), (a_frame(type=None), "bad_field"),
        (a_frame(without="fix_ms"), "bad_field"), (a_frame(fix_ms="now"), "bad_field"),
        (a_frame(fix_ms=1.5), "bad_field"), (a_frame(fix_ms=-1), "bad_field"), (a_frame(fix_ms=2**63), "bad_field"),
        (a_frame(fix_ms=10**400), "bad_field"), (a_frame(fix_ms=True), "bad_field"),
        (a_frame(fix_ms=None), "bad_field"),
        (a_frame(without="lat"), "bad_field"), (a_frame(lat="36.1"), "bad_field"), (a_frame(lat=None), "bad_field"),
        (a_frame(lat=True), "bad_field"), (a_frame(lat=[36.1]), "bad_field"), (a_frame(lng={}), "bad_field"),
        (a_frame(lat=91), "bad_coordinate"), (a_frame(lat=-90.0001), "bad_coordinate"),
        (a_frame(lng=540), "bad_coordinate"), (a_frame(lng=-180.5), "bad_coordinate"),
        (a_frame(lat=1e308), "bad_coordinate"), (a_frame(lat=10**400), "bad_coordinate"),
        (a_frame().replace("36.1", "1e999"), "bad_coordinate"), (a_frame().replace("36.1", "NaN"), "bad_coordinate"),
        (a_frame().replace("-115.1", "-Infinity"), "bad_coordinate"), (a_frame(lat=0, lng=0), "bad_coordinate"),
        (a_frame(lat=0.0, lng=-0.0), "bad_coordinate"), (a_frame().replace("36.1", "036.1"), "bad_json"),
        (a_frame(accuracy_m=float("nan")), "bad_json"), (a_frame(speed_mps=float("inf")), "bad_json"),
        (a_frame(seq=-1), "bad_field"), (a_frame(seq="7"), "bad_field"), (a_frame(seq=7.0), "bad_field"),
        (a_frame(seq=True), "bad_field"), (a_frame(seq=2**53 + 1), "bad_field"), (a_frame(seq=10**400), "bad_field"),
        (a_frame(accuracy_m=-1), "bad_field"), (a_frame(speed_mps=401), "bad_field"),
        (a_frame(heading_deg=361), "bad_field"), (a_frame(battery=1.1), "bad_field"),
        (a_frame(battery="full"), "bad_field"), (a_frame(driver_id=7), "bad_field"),
        (a_frame()[:-1] + ',"driver_id":"\\ud800"}', "bad_json"), (a_frame()[:-1] + ',"x":"\\udfff"}', "bad_json"),
        (a_frame().encode()[:-1] + b',"driver_id":"\xff"}', "bad_json"),
        (a_frame()[:-1] + ',"x":"a\nb"}', "bad_json"), (json.dumps({**REPORT, "id": ""}), "bad_field"),
        (json.dumps({**REPORT, "id": "../etc"}), "bad_field"), (json.dumps({**REPORT, "id": "a\n"}), "bad_field"),
        (json.dumps({**REPORT, "id": "a" * 65}), "bad_field"), (json.dumps({**REPORT, "id": 5}), "bad_field"),
        (json.dumps({**REPORT, "report": "teleported"}), "bad_field"),
        (json.dumps({**REPORT, "order_ids": "o-1"}), "bad_field"),
        (json.dumps({**REPORT, "order_ids": ["o 1"]}), "bad_field"),
        (json.dumps({**REPORT, "order_ids": ["o-1"] * 65}), "bad_field"),
        (json.dumps({**REPORT, "assignment": -1}), "bad_field"),
        (json.dumps({**REPORT, "reason": "x" * 513}), "bad_field"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_code(frame: str | bytes, code: str) -> None:
    error = the_error(frame)
    assert error.code == code
    assert 0 < len(error.message) <= wire.MAX_MESSAGE_CHARS


def test_an_error_names_the_field_and_the_message() -> None:
    error = the_error(a_frame(lat=91, driver_id="d-1"))
    assert error == WireError("bad_coordinate", "lat: expected float <= 90.0", 7, None, "d-1", 1794560405000)


def test_an_identity_that_is_none_is_not_repeated() -> None:
    error = the_error(json.dumps({**PING, "seq": True, "id": "x" * 900, "driver_id": ["d"], "fix_ms": "now"}))
    assert (error.seq, error.id, error.driver_id, error.fix_ms) == (None, None, None, None)


def test_an_error_does_not_echo_a_hostile_text_in_full() -> None:
    assert len(the_error(a_frame(type="x" * 100_000)).message) <= wire.MAX_MESSAGE_CHARS


def test_a_repeated_key_is_never_a_crash() -> None:
    assert isinstance(decode_frame(a_frame()[:-1] + ',"lat":95}')[0], WireError | Ping)


@pytest.mark.parametrize("whole", [PROTOCOL_PING, PROTOCOL_REPORT.encode(), json.dumps([PING, REPORT]).encode()])
def test_a_truncated_frame_is_bad_json_at_every_length(whole: bytes) -> None:
    assert {the_error(whole[:length]).code for length in range(len(whole))} == {"bad_json"}


fuzz = settings(suppress_health_check=[HealthCheck.too_slow])
"""Machines under load draw slowly; that is no finding."""


def survives(frame: str | bytes) -> None:
    decoded: list[Received] = decode_frame(frame)
    assert decoded
    for item in decoded:
        assert isinstance(item, Ping | Report | WireError)
        # Whatever comes out can be journaled, or said to the sender.
        msgspec.json.encode(item)


@fuzz
@given(st.binary(max_size=2_000))
def test_any_bytes_are_survived(frame: bytes) -> None:
    survives(frame)


@fuzz
@given(st.text(st.characters(), max_size=2_000))
def test_any_text_is_survived(frame: str) -> None:
    survives(frame)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from([*PING, *REPORT, "driver_id", "accuracy_m", "order_ids", "assignment", "reason", "other"])


@st.composite
def mutated_frames(draw: st.DrawFn) -> str:
    items: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        item: dict[str, Any] = dict(draw(st.sampled_from([PING, REPORT])))
        for field, value in draw(st.dictionaries(FIELDS, VALUES, max_size=3)).items():
            item[field] = value
        if draw(st.booleans()):
            item.pop(draw(FIELDS), None)
        items.append(item)
    return json.dumps(items if draw(st.booleans()) else items[0], ensure_ascii=draw(st.booleans()))


@fuzz
@given(mutated_frames())
def test_any_mutation_of_a_good_frame_is_survived(frame: str) -> None:
    survives(frame)


@fuzz
@given(mutated_frames(), st.data())
def test_any_flipped_byte_of_a_frame_is_survived(frame: str, data: st.DataObject) -> None:
    body = bytearray(frame.encode(errors="replace"))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(body))


SAID = [
    (Welcome("d-1", 5, -1), '{"type":"welcome","driver_id":"d-1","server_ms":5,"last_seq":-1}'),
    (
        Welcome(None, 5, None, "fleet"),
        '{"type":"welcome","driver_id":null,"server_ms":5,"last_seq":null,"gateway":"fleet"}',
    ),
    (Ack(seq=4), '{"type":"ack","seq":4}'),
    (Ack(seq=None, fix_ms=9), '{"type":"ack","seq":null,"fix_ms":9}'),
    (Ack(id="r-1"), '{"type":"ack","id":"r-1"}'),
    (
        Nack("future", False, "no", seq=3),
        '{"type":"nack","code":"future","retryable":false,"message":"no","seq":3}',
    ),
    (
        Route(3, (RouteStop("pickup", "o-1", 1.0, 2.0, "Plaza", 7, "plaza", (RouteStore("zara", "Zara"),)),)),
        '{"type":"route","assignment":3,"stops":[{"kind":"pickup","order_id":"o-1","lat":1.0,"lng":2.0,'
        '"address":"Plaza","eta_ms":7,"mall_id":"plaza","stores":[{"id":"zara","name":"Zara"}]}]}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "text"), SAID)
def test_what_the_server_says_is_written_as_in_the_protocol(message: wire.ServerMessage, text: str) -> None:
    assert wire.encode(message).decode() == text


@pytest.mark.parametrize(("message", "text"), SAID)
def test_what_the_server_says_fits_its_schema(message: wire.ServerMessage, text: str) -> None:
    said = json.loads(text)
    jsonschema.validate(said, schema_of(said["type"]))


@pytest.mark.parametrize("name", ["ping", "report", "welcome", "ack", "nack", "route"])
def test_every_message_has_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(name))


@fuzz
@given(mutated_frames())
def test_what_is_taken_fits_the_schema_that_is_published(frame: str) -> None:
    for item in decode_frame(frame):
        if isinstance(item, Ping):
            jsonschema.validate(msgspec.to_builtins(item), schema_of("ping"))


def schema_of(name: str) -> dict[str, Any]:
    schema = wire.schemas()[name]
    assert isinstance(schema, dict)
    return schema


@pytest.mark.parametrize(
    ("text", "good"),
    [("d-1", True), ("A_z-9", True), ("", False), ("a" * 64, True), ("a" * 65, False), ("a\n", False), ("é", False)],
)
def test_an_id_is_1_to_64_plain_characters(text: str, good: bool) -> None:
    assert wire.is_id(text) is good


@given(st.lists(st.builds(Nack, st.just("internal"), st.booleans(), st.text()), max_size=20))
def test_messages_encoded_together_are_what_each_is_by_itself(messages: list[Nack]) -> None:
    assert wire.encode_all(messages) == [wire.encode(message) for message in messages]
