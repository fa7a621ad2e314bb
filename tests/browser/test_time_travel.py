"""A recording watched in a room: opened, paused, sought, shared by a link, closed."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import Demo, Floor, OpenFloor

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_ROOM = "() => window.mallard?.replay?.status && mallard.map?.fitted && mallard.drawnDrivers() > 0"
STANDS_NEAR = """at_ms => Math.abs(mallard.model.at_ms - at_ms) < 30000 && !document.body.dataset.seeking
  && mallard.drawnDrivers() > 0"""
VIEW = "[mallard.map.map.getZoom(), ...mallard.map.map.getCenter().toArray()]"


async def in_room(floor: Floor) -> str:
    """Waits for the room's floor; gives the room's name."""
    await floor.page.wait_for_url("**/replay/r-*")
    await floor.until(IN_ROOM, seconds=40)
    return urlsplit(floor.page.url).path.rpartition("/")[2]


async def seek(floor: Floor, part: float) -> int:
    """Clicks on the line of the recording; gives the instant it stands for."""
    box = await floor.page.locator("#replay-track").bounding_box()
    assert box
    await floor.page.mouse.click(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
    at_ms = await floor.ask("part => mallard.replay.status.start_ms + part * 7200000", part)
    await floor.until(STANDS_NEAR, at_ms)
    return int(at_ms)


def close_rooms(demo: Demo) -> None:
    for room in demo.rest("GET", "/rooms").json()["items"]:
        demo.rest("DELETE", f"/rooms/{room['room']}").raise_for_status()


async def test_a_recording_is_paused_sought_both_ways_and_shared_by_a_link(open_floor: OpenFloor) -> None:
    floor = await open_floor("viewer")
    page = floor.page
    await page.click('.header [data-page="replay"]')
    await page.click('[data-recording="saturday-rush"] [data-act="replay-open"]')
    await in_room(floor)
    assert (await page.inner_text("#mode")).startswith("REPLAY ×")

    await page.keyboard.press("w")
    await floor.until("() => document.getElementById('mode').textContent === 'REPLAY PAUSED'")
    await floor.frames(2)
    clock = await page.inner_text("#clock")
    await floor.frames(3)
    assert await page.inner_text("#clock") == clock, "a paused floor's clock stands still"

    view = await floor.ask(VIEW)
    late = await seek(floor, 0.6)
    early = await seek(floor, 0.2)
    assert early < late
    assert await floor.ask(VIEW) == view, "a seek leaves the map where the person put it"
    newest = await floor.ask("Math.max(...[...mallard.model.orders.values()].map(o => o.placed_ms))")
    assert newest <= early + 30_000, "nothing of the later moment is left over"

    await page.keyboard.press("]")
    await floor.until("() => document.getElementById('replay-said').textContent !== ''")
    alarm_ms = await floor.ask("mallard.replay.now()")
    assert alarm_ms > early - 30_000
    await page.click('[data-tab="all"]')
    await page.click("#queue-box .ag-row >> nth=0")
    await page.wait_for_selector("#inspect-main [data-order]")
    order_id = await floor.ask("mallard.hands.selection.id")
    link = await floor.ask("mallard.replay.link()")
    assert parse_qs(urlsplit(link).query) == {"source": ["saturday-rush"], "at": [str(alarm_ms)], "order": [order_id]}

    other = await open_floor("dispatcher", width=390, height=844, scheme="dark")
    await other.page.goto(link)
    await in_room(other)
    await other.page.wait_for_selector(f'#inspect-main [data-order="{order_id}"]', state="attached")
    assert await other.ask("mallard.replay.status.at_ms") == alarm_ms
    assert await other.page.inner_text("#mode") == "REPLAY PAUSED"
    assert await other.ask("document.documentElement.scrollWidth") <= 390
    assert await other.ask(
        "[...document.querySelectorAll('#transport button')].every(b => b.getBoundingClientRect().right <= 390)"
    )
    close_rooms(floor.demo)


async def test_a_room_that_was_closed_says_so_and_opens_again_where_it_was(open_floor: OpenFloor) -> None:
    floor = await open_floor("ops-lead")
    start_ms = (floor.demo.rest("GET", "/recordings").json()["items"])[1]["start_ms"]
    await floor.page.goto(f"{floor.demo.url}/replay?source=saturday-rush&at={start_ms + 600_000}")
    room = await in_room(floor)
    floor.demo.rest("DELETE", f"/rooms/{room}").raise_for_status()
    await floor.page.wait_for_selector("#room-closed", state="visible")
    assert await floor.page.locator("#banner").is_hidden(), "it is closed, not about to come back"
    await floor.page.click('[data-act="replay-again"]')
    await floor.page.wait_for_url(re.compile(rf"/replay/r-(?!{room[2:]})"))
    await in_room(floor)
    assert await floor.ask("mallard.replay.status.at_ms") == start_ms + 600_000
    # What was asked of the closed room was refused, which the browser notes.
    floor.faults[:] = [fault for fault in floor.faults if "410" not in fault and "Callback error" not in fault]
    await floor.page.keyboard.press("g")
    await floor.page.keyboard.press("f")
    await floor.page.wait_for_url(f"{floor.demo.url}/")
    close_rooms(floor.demo)
