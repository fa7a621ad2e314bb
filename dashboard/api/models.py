"""The bodies REST takes and gives, as OpenAPI shows them.

It must not know how they are answered. Requests are checked against these models; answers come from the streamer as
they are, and these models only describe them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="An id: `[A-Za-z0-9_-]{1,64}`")]
Instant = Annotated[int, Field(strict=True, ge=0, le=2**53, description="UTC epoch milliseconds")]
Version = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Lat = Annotated[float, Field(strict=True, ge=-90, le=90, allow_inf_nan=False, description="WGS 84 degrees")]
Lng = Annotated[float, Field(strict=True, ge=-180, le=180, allow_inf_nan=False, description="WGS 84 degrees")]
Text = Annotated[str, Field(max_length=512)]
Action = Literal["assign", "reassign", "unassign", "hold", "release", "pin", "ready", "cancel"]
Status = Literal[
    "placed", "ready", "assigned", "enroute_to_pickup", "arrived_at_pickup", "picked_up", "enroute_to_dropoff",
    "arrived_at_dropoff", "delivered", "cancelled", "failed", "returning", "returned",
]  # fmt: skip
DriverState = Literal["off_duty", "free", "busy", "at_store", "on_break", "silent"]
Risk = Literal["on_time", "at_risk", "late"]
Layer = Literal["supply", "demand", "balance", "wait"]
Mode = Literal["off", "suggest", "auto", "auto_with_exceptions"]
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=10_000_000_000)]


class Problem(BaseModel):
    """An error (RFC 9457). `code` is for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str = Field(examples=["version_conflict"])
    detail: str


# ---------------------------------------------------------------- requests


class Dropoff(BaseModel):
    """Where an order is delivered, and to whom."""

    lat: Lat
    lng: Lng
    name: Text = ""
    phone: Annotated[str, Field(max_length=32)] = ""
    address: Text = ""
    notes: Text = ""


class OrderBody(BaseModel):
    """A shopper's order: collect at `stores` of one mall, deliver by `due_ms`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "external_id": "113-44556",
                    "mall_id": "fashion-show",
                    "stores": ["fs-macys"],
                    "items": 2,
                    "dropoff": {
                        "name": "R. Lee", "phone": "+17025550123", "address": "3355 Spring Mountain Rd",
                        "lat": 36.126, "lng": -115.192, "notes": "leave at door",
                    },
                    "placed_ms": 1794560000000,
                    "ready_ms": 1794560900000,
                    "due_ms": 1794567200000,
                    "priority": 0,
                }
            ]
        }
    )  # fmt: skip
    external_id: Annotated[str, Field(max_length=128)] | None = None
    mall_id: Id
    stores: Annotated[list[Id], Field(min_length=1, max_length=16)]
    items: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    dropoff: Dropoff
    placed_ms: Instant
    ready_ms: Instant | None = None
    due_ms: Instant
    priority: Annotated[int, Field(strict=True, ge=0, le=9)] = 0


class Decision(BaseModel):
    """What a command about one order carries. `expected_version` may also come as `If-Match`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"expected_version": 4, "driver_id": "d-07", "reason": "nearer by six minutes"}]
        }
    )
    expected_version: Version | None = Field(
        default=None, description="The order's version as the sender saw it; 428 if absent"
    )
    driver_id: Id | None = Field(default=None, description="for assign and reassign")
    position: Annotated[int, Field(strict=True, ge=0, le=128)] | None = Field(
        default=None, description="place of the pick-up in the driver's route; absent: the best one"
    )
    ready_ms: Instant | None = Field(default=None, description="for ready: when the store has, or will have, it")
    reason: Text | None = None


class BulkCommand(Decision):
    """One of several commands."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"action": "hold", "order_id": "o-118", "expected_version": 4}]}
    )
    action: Action
    order_id: Id
    key: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class Bulk(BaseModel):
    """Several commands, done in order; with `atomic`, all or none."""

    commands: Annotated[list[BulkCommand], Field(min_length=1, max_length=256)]
    atomic: Annotated[bool, Field(strict=True)] = False


class PreviewBody(BaseModel):
    """What would happen if these orders went to this driver?"""

    order_ids: Annotated[list[Id], Field(min_length=1, max_length=64)]
    driver_id: Id


class UndoBody(BaseModel):
    """Takes back a command."""

    command_id: Id
    reason: Text | None = None


class HandOverBody(BaseModel):
    """All orders of a driver to another; with none named, those not yet collected go back to the queue."""

    to_driver_id: Id | None = None
    reason: Text | None = None


class DutyBody(BaseModel):
    """Why a driver goes on or off duty."""

    reason: Text | None = None


class AutopilotRules(BaseModel):
    """How the autopilot works at a mall."""

    mode: Mode = Field(
        default="off", description="suggest: people accept; auto_with_exceptions: late and dear is left to people"
    )
    look_ms: Annotated[int, Field(strict=True, ge=1_000, le=3_600_000)] = Field(
        default=10_000, description="from one look at the floor to the next"
    )
    hold_for_batch: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="whether an order may wait for another to share its trip"
    )
    trip_orders: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        default=5, description="orders a trip, at most"
    )
    offer_ms: Milliseconds = Field(default=0, description="an order it gives out is an offer this long; 0: for good")
    stand_down_ms: Milliseconds = Field(default=60_000, description="what a person touched, it leaves alone this long")


class AutopilotBody(AutopilotRules):
    """The rules as they are to be, and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"mode": "auto_with_exceptions", "offer_ms": 45000, "reason": "quiet evening"}]}
    )
    reason: Text = ""


# ---------------------------------------------------------------- answers


class Advice(BaseModel):
    """What the autopilot makes of an order in the queue. `terms` are minutes and sum to `cost_min`."""

    order_id: str
    word: Literal["waits", "planned", "suggested", "failed", "left_to_people"]
    reason: str = ""
    driver_id: str | None = None
    trip: list[str] = Field(
        default=[], description="the orders that leave together, in the sequence of their drop-offs"
    )
    depart_ms: int | None = Field(default=None, description="when the driver has to set off")
    leave_ms: int | None = Field(default=None, description="when the trip leaves the mall")
    eta_dropoff_ms: int | None = None
    cost_min: float | None = None
    terms: dict[str, float] = {}
    regret_min: float | None = Field(default=None, description="how much more the next best driver would cost")


class Order(OrderBody):
    """An order and where it stands."""

    id: str
    status: Status
    version: int
    driver_id: str | None
    assignment: int | None
    held: bool
    pinned: bool
    risk: Risk
    eta_pickup_ms: int | None
    eta_dropoff_ms: int | None
    eta_low_ms: int | None = Field(default=None, description="four of five come between this and eta_high_ms")
    eta_high_ms: int | None = None
    updated_ms: int
    offered_until_ms: int | None = Field(description="when an offer lapses that its driver has not answered")
    advice: Advice | None = Field(description="what the autopilot makes of it while it is in the queue")


class OrderDone(Order):
    """An order as it is after a command."""

    command_id: str


class Conflict(Problem):
    """Somebody else changed the order first; `order` is what it is now."""

    order: Order


class Orders(BaseModel):
    """A page of orders."""

    items: list[Order]
    next: str | None


class HistoryItem(BaseModel):
    """One line of an order's story."""

    at_ms: int
    actor: str
    action: str
    reason: str = ""
    changed: dict[str, str] = {}
    command_id: str | None = None


class History(BaseModel):
    """An order's story, oldest first."""

    items: list[HistoryItem]
    next: str | None


class Candidate(BaseModel):
    """A driver who could take the order; `terms` are minutes and sum to `cost`."""

    driver_id: str
    cost: float
    terms: dict[str, float]
    eta_pickup_ms: int
    eta_dropoff_ms: int
    regret_min: float | None = Field(
        default=None, description="how much more it costs than the autopilot's plan, minutes; null without advice"
    )


class Excluded(BaseModel):
    """A driver who could not, and why."""

    driver_id: str
    reason: str


class Candidates(BaseModel):
    """Ranked drivers, best first, and everybody else with the reason."""

    items: list[Candidate]
    excluded: list[Excluded]


class Effect(BaseModel):
    """What a preview says of one order."""

    order_id: str
    driver_before: str | None
    driver_after: str | None
    eta_before_ms: int | None
    eta_after_ms: int | None
    lateness_before_ms: int | None
    lateness_after_ms: int | None


class Effects(BaseModel):
    """The effect on every order of every driver touched."""

    items: list[Effect]


class RowResult(BaseModel):
    """What became of one row or command."""

    status: int
    body: dict[str, object] | None = None
    problem: Problem | None = None


class BulkResult(BaseModel):
    """A result for each command, in order."""

    items: list[RowResult]


class ImportRow(BaseModel):
    """What became of one row; `row` counts from 1, without the header."""

    row: int
    status: int
    order: Order | None = None
    problem: Problem | None = None


class ImportResult(BaseModel):
    """A result for each row, in order."""

    items: list[ImportRow]
    created: int
    existing: int
    refused: int


class Undone(BaseModel):
    """The orders as they are after an undo or a hand-over."""

    command_id: str
    items: list[Order]


class Driver(BaseModel):
    """A driver, its last believed position and what it carries."""

    id: str
    name: str
    state: DriverState
    lat: float | None
    lng: float | None
    fix_ms: int | None
    received_ms: int | None
    age_ms: int | None
    accuracy_m: float | None
    heading_deg: float | None
    speed_mps: float | None
    hex: str | None = Field(description="H3 cell, resolution 9")
    mall_id: str | None = Field(description="the mall whose fence holds the driver")
    verdict: str | None
    order_ids: list[str]
    assignment: int | None
    last_seq: int


class DriverDone(Driver):
    """A driver after a command."""

    command_id: str


class Drivers(BaseModel):
    """A page of drivers."""

    items: list[Driver]
    next: str | None


class TrackPing(BaseModel):
    """One ping of a track."""

    at_ms: int
    fix_ms: int
    lat: float
    lng: float
    verdict: str


class Track(BaseModel):
    """A driver's pings in order."""

    items: list[TrackPing]
    next: str | None


class Geometry(BaseModel):
    """A GeoJSON geometry; positions are `[lng, lat]`."""

    type: str
    coordinates: list[object]


class Feature(BaseModel):
    """A GeoJSON feature."""

    type: Literal["Feature"] = "Feature"
    id: str | None = None
    geometry: Geometry
    properties: dict[str, object]


class FeatureCollection(BaseModel):
    """GeoJSON."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[Feature]


class Kpis(BaseModel):
    """The figures of the floor; null before the first order that counts."""

    open: int
    unassigned: int
    at_risk: int
    late: int
    free: int
    busy: int
    silent: int
    off_duty: int
    orders_per_trip: float | None
    on_time: float | None
    click_to_door_ms: int | None
    delivered: int
    wait_at_store_ms: int | None
    offers: int = Field(description="orders the autopilot gave out for a driver to accept")
    declined: int
    lapsed: int = Field(description="offers nobody answered in time")
    eta_inside_share: float | None = Field(default=None, description="within the interval said at assignment, 0-1")
    eta_error_ms: int | None = Field(default=None, description="mean absolute error of the ETA said at assignment")


class Outlook(BaseModel):
    """Orders likely to be placed at a mall within `ahead_ms` from `at_ms`."""

    mall_id: str
    at_ms: int
    ahead_ms: int
    orders: int
    seen: int = Field(description="orders of the mall that this rests on")
    stores: dict[str, int] = Field(description="of them by store, most first; an order of two stores counts at both")


class AutopilotWorker(BaseModel):
    """How the looks at a mall go; `message` says what is wrong when not `ok`."""

    ok: bool
    last_look_ms: int | None
    plan_ms: float | None = Field(description="what its last plan took")
    message: str | None
    road_share: float | None = Field(default=None, description="of its last plan's driving times, those of roads, 0-1")


class Routing(BaseModel):
    """Where driving times of plans come from now: the routing server while it answers, else the model."""

    source: Literal["model", "osrm", "valhalla"]
    since_ms: int
    last_error: str
    last_error_ms: int | None


class AutopilotOfMall(BaseModel):
    """The autopilot of a mall."""

    mall_id: str
    rules: AutopilotRules
    worker: AutopilotWorker
    routing: Routing | None = Field(default=None, description="nothing when no routing server is set")


class AutopilotDone(AutopilotOfMall):
    """The autopilot of a mall after it was set."""

    command_id: str


class Autopilots(BaseModel):
    """The autopilot of every mall in scope."""

    items: list[AutopilotOfMall]


class StoreLesson(BaseModel):
    """How late a store is (ready less promised, ms), and mean absolute errors of its promise and of the forecast."""

    store_id: str
    name: str
    late_ms: int
    sd_ms: int
    orders: float
    speaks: float = Field(description="share of orders of which the store says that they are ready, 0-1")
    scored: int
    promise_error_ms: int | None
    learned_error_ms: int | None


class HourLesson(BaseModel):
    """Actual over model driving time at an hour of the UTC day."""

    utc_hour: int
    factor: float
    drives: float


class DriveLesson(BaseModel):
    """Actual over model driving time, and the mean absolute percentage errors (0-1) of both."""

    factor: float
    spread: float
    drives: float
    pairs: int
    hours: list[HourLesson]
    leave_ms: int
    scored: int
    model_error: float | None
    learned_error: float | None


class EtaLesson(BaseModel):
    """Deliveries against an ETA said once; `low` and `high` end the next interval, in standard deviations."""

    scored: int
    inside_share: float | None = Field(description="within the interval, meant to be 0.8")
    error_ms: int | None
    width_ms: int | None
    low: float
    high: float


class Lessons(BaseModel):
    """What one mall has taught the floor."""

    mall_id: str
    learning: bool
    used: bool
    stores: list[StoreLesson]
    ready_scored: int
    ready_promise_error_ms: int | None
    ready_learned_error_ms: int | None
    drive: DriveLesson
    eta_assigned: EtaLesson
    eta_aboard: EtaLesson


class EngineState(BaseModel):
    """Where the engine stands."""

    seq: int
    at_ms: int
    hash: str


# ---------------------------------------------------------------- replay rooms

Do = Literal["play", "pause", "step", "seek", "speed"]
Kind = Literal["fixture", "journal"]
SourceId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="An `id` of `GET /recordings`")
]


class RoomBody(BaseModel):
    """Which recording to open; without `at_ms` it plays from the beginning, with it it stands there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "saturday-rush", "at_ms": 1794695400000}]})
    source: SourceId
    at_ms: Instant | None = None


class TransportBody(BaseModel):
    """What a room is to do; with nothing, it only says how it stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"do": "seek", "at_ms": 1794695400000}]})
    do: Do | None = None
    at_ms: Instant | None = Field(default=None, description="for seek: the recorded instant to go to")
    speed: Annotated[float, Field(ge=1, le=60)] | None = Field(
        default=None, description="for speed, and for play: recorded seconds a second"
    )
    step_ms: Annotated[int, Field(strict=True, ge=1, le=3_600_000)] | None = Field(
        default=None, description="for step: how far; absent: a second"
    )


class Recording(BaseModel):
    """Something that can be replayed. With a `problem` it cannot, and its figures are 0."""

    id: str
    kind: Kind
    name: str
    story: str
    start_ms: int
    end_ms: int
    malls: list[str]
    drivers: int
    orders: int
    role: Literal["viewer", "dispatcher", "ops-lead"] = Field(
        default="viewer", description="the least role that may open it; absent: viewer"
    )
    problem: str | None = None
    kpis: Kpis | None = Field(default=None, description="of the floor at a fixture's end; absent: not known")


class Recordings(BaseModel):
    """What can be replayed."""

    items: list[Recording]


class Room(BaseModel):
    """A replay room: a floor of its own that plays a recording. `url` is its link, for dashboards."""

    room: str
    url: str
    source: str
    kind: Kind
    name: str
    story: str
    role: str
    start_ms: int
    end_ms: int
    at_ms: int = Field(description="where it was opened; where it is now, its transport says")
    opened_ms: int
    opened_by: str
    readers: int


class Rooms(BaseModel):
    """The rooms that are open."""

    items: list[Room]


class RoomClosed(BaseModel):
    """The room has ended; there is nothing to say of it."""


class TransportStatus(BaseModel):
    """How a room stands. `seeking_ms`: on its way there. `indexed_ms`: up to there, a seek is fast."""

    playing: bool
    speed: float
    at_ms: int
    start_ms: int
    end_ms: int
    ended: bool
    forked_at_ms: int | None
    seeking_ms: int | None
    indexed_ms: int
    complete: bool = Field(description="the whole recording has been read")
    problem: str | None


class AlarmMark(BaseModel):
    """An alarm of the recording, when it opened."""

    at_ms: int
    kind: str
    mall_id: str | None
    text: str
    order_ids: list[str]


class CommandMark(BaseModel):
    """A decision of the recording."""

    at_ms: int
    actor: str
    action: str
    order_id: str | None = None
    driver_id: str | None = None


class KpiMark(BaseModel):
    """The floor's figures at an instant."""

    at_ms: int
    open: int
    unassigned: int
    at_risk: int
    late: int
    delivered: int
    free: int
    busy: int
    silent: int
    on_time: float | None
    orders_per_trip: float | None
    click_to_door_ms: int | None


class Marks(BaseModel):
    """What is worth jumping to, up to `until_ms`; all of the recording once `complete`."""

    complete: bool
    until_ms: int
    alarms: list[AlarmMark]
    commands: list[CommandMark]
    kpis: list[KpiMark]
