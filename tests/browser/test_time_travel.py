"""A recording watched in a room: opened, paused, sought, shared by a link, closed, and forked by a decision."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import Demo, Floor, OpenFloor

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_ROOM = "() => window.mallard?.replay?.status && mallard.map?.fitted && mallard.drawnDrivers() > 0"
STANDS_NEAR = """at_ms => Math.abs(mallard.model.at_ms - at_ms) < 30000 && !document.body.dataset.seeking
  && mallard.drawnDrivers() > 0"""
STANDS_AT = "at_ms => mallard.replay.status.at_ms === at_ms && mallard.model.at_ms === at_ms"
FREE = "[...mallard.model.drivers.values()].filter(d => d.state === 'free').map(d => d.id).sort()[0]"
GHOSTS_DRAWN = """() => {
  const { map, drawn } = mallard.map.ghosts;
  return drawn.features.length > 0 && map.queryRenderedFeatures({ layers: ['mallard-ghost-marks'] }).length > 0;
}"""
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


async def test_a_recording_is_sought_shared_by_a_link_opened_again_once_closed_and_forked_by_a_decision(
    open_floor: OpenFloor,
) -> None:
    floor = await open_floor("dispatcher")
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

    await follow_on_a_phone(floor, link, order_id, alarm_ms)
    await close_and_open_again(floor, alarm_ms)
    await decide_otherwise(floor)
    await look_at_the_lab(floor)
    close_rooms(floor.demo)


async def look_at_the_lab(floor: Floor) -> None:
    """A dispatcher sees the run that an ops lead started and cancels, and cannot start one."""
    body = {"source": "saturday-rush", "policies": ["nearest", "no-hold"], "seeds": 2}
    floor.demo.rest("POST", "/lab", json=body).raise_for_status()
    await floor.page.click('.header [data-page="insights"]')
    await floor.page.wait_for_selector(".lab-running progress")
    assert await floor.page.is_disabled("#lab-go")
    assert await floor.page.locator('[data-act="lab-cancel"]').count() == 0
    floor.demo.rest("DELETE", "/lab").raise_for_status()
    await floor.page.wait_for_selector('.lab-result[data-status="cancelled"]')
    command = await floor.page.inner_text(".shell code")
    assert command == "mallard compare saturday-rush --policy nearest --policy no-hold --seeds 2"


async def follow_on_a_phone(floor: Floor, link: str, order_id: str, at_ms: int) -> None:
    await floor.page.set_viewport_size({"width": 390, "height": 844})
    await floor.page.goto(link)
    await in_room(floor)
    await floor.until(STANDS_AT, at_ms)
    await floor.page.wait_for_selector(f'#inspect-main [data-order="{order_id}"]', state="attached")
    assert await floor.page.inner_text("#mode") == "REPLAY PAUSED"
    assert await floor.ask("document.documentElement.scrollWidth") <= 390
    rightmost = (
        "Math.max(...[...document.querySelectorAll('#transport button')].map(b => b.getBoundingClientRect().right))"
    )
    assert await floor.ask(rightmost) <= 390


async def close_and_open_again(floor: Floor, at_ms: int) -> None:
    room = await in_room(floor)
    floor.demo.rest("DELETE", f"/rooms/{room}").raise_for_status()
    await floor.page.wait_for_selector("#room-closed", state="visible")
    assert await floor.page.locator("#banner").is_hidden(), "it is closed, not about to come back"
    noted = len(floor.faults)
    asks_on = "() => { mallard.replay.send({}); return fetch('/api/v1/malls').then(answer => answer.status); }"
    assert await floor.ask(asks_on) == 410
    assert len(floor.faults) == noted <= 4, "the page asks a closed room no more"
    await floor.page.click('[data-act="replay-again"]')
    await floor.page.wait_for_url(re.compile(rf"/replay/r-(?!{room[2:]})"))
    await in_room(floor)
    await floor.until(STANDS_AT, at_ms)
    # What was asked before the page knew was refused, which the browser notes.
    floor.faults[:] = [fault for fault in floor.faults if "410" not in fault]


async def decide_otherwise(floor: Floor) -> None:
    await floor.page.set_viewport_size({"width": 1440, "height": 900})
    await floor.page.click('[data-tab="unassigned"]')
    await floor.page.click("#queue-box .ag-row >> nth=0")
    await floor.page.wait_for_selector("[data-candidate]")
    # Somebody free: with an order in the fork alone, this driver is at once in another state there.
    await floor.ask(f"mallard.hands.choose({FREE})")
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"]')
    forked_at_ms = await floor.ask("mallard.replay.now()")
    await floor.page.keyboard.press("a")
    await floor.until("() => document.getElementById('mode').textContent === 'FORK PAUSED'", seconds=40)
    assert abs(await floor.ask("mallard.replay.status.forked_at_ms") - forked_at_ms) <= 1_000
    await floor.page.keyboard.press(".")
    await floor.page.click('[data-act="replay-compare"]')
    await floor.until("() => document.querySelector('#compare header')?.textContent.includes('maya: assign')")
    assert await floor.page.inner_text("#mode") == "FORK PAUSED"
    await see_both_worlds(floor)
    await floor.page.keyboard.press("<")
    await floor.page.click('[data-act="confirmed"]')
    await floor.until("() => document.getElementById('mode').textContent === 'REPLAY PAUSED'")
    assert await floor.page.locator("#compare-pane").is_hidden()
    await floor.until("() => !mallard.map.ghosts.on")
    assert await floor.ask("mallard.map.ghosts.drawn.features") == [], "out of the fork there is one world"
    assert await floor.page.locator("#ghost-note").is_hidden()


async def see_both_worlds(floor: Floor) -> None:
    style_calls = await floor.ask("mallard.setStyleCalls()")
    await floor.page.keyboard.press("b")
    await floor.until(GHOSTS_DRAWN)
    ghosts = await floor.ask("mallard.map.ghosts.recorded")
    for driver_id, state, lat, lng in zip(
        *(ghosts[name] for name in ("driver_id", "state", "lat", "lng")), strict=True
    ):
        ours = await floor.ask("id => mallard.model.drivers.get(id)", driver_id)
        assert ours is None or (ours["state"], ours["lat"], ours["lng"]) != (state, lat, lng)
    assert re.match(r"\d+ drivers? differs? from", await floor.page.inner_text("#ghost-note"))
    await floor.ask("mallard.theme.toggle()")
    await floor.until(GHOSTS_DRAWN)
    await floor.ask("mallard.theme.toggle()")
    assert await floor.ask("mallard.setStyleCalls()") == style_calls
