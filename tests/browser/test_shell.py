"""The frame around it all: keys, the header, a lost link, a narrow screen, names for those who cannot see."""

import re

import pytest
from playwright.async_api import WebSocketRoute

from tests.browser.conftest import READY, OpenFloor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_j_and_k_walk_the_queue_by_risk_and_escape_goes_back(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click('[data-tab="all"]')
    await floor.page.hover("#queue-box")  # held still, so that the order cannot change between two keys
    await floor.until("() => mallard.queue.listed().length > 3")
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        await floor.page.keyboard.press(key)
        at_place = "place => mallard.hands.selection && mallard.hands.selection.id === mallard.queue.listed()[place]"
        await floor.until(at_place, place)
    assert f"order={await floor.ask('mallard.hands.selection.id')}" in floor.page.url
    await floor.page.keyboard.press("Escape")
    await floor.until("() => mallard.hands.selection === null")


async def test_a_tooltip_under_the_mouse_does_not_stop_the_keys(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click('[data-tab="all"]')
    await floor.until("() => mallard.queue.listed().length > 3")
    await floor.page.hover("#queue-box")
    await floor.page.wait_for_selector(".ag-tooltip")
    await floor.page.keyboard.press("j")
    await floor.until("() => mallard.hands.selection !== null", seconds=5)
    await floor.page.keyboard.press("Escape")
    await floor.until("() => mallard.hands.selection === null", seconds=5)


async def test_no_key_fires_while_somebody_types(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click("#queue-search")
    await floor.page.keyboard.type("jjj?z1")
    assert await floor.ask("mallard.hands.selection") is None
    assert await floor.page.input_value("#queue-search") == "jjj?z1"
    assert await floor.page.locator("text=undo your last decision").is_hidden()


async def test_the_question_mark_opens_the_sheet_of_keys(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.keyboard.press("?")
    await floor.page.wait_for_selector("text=undo your last decision")
    await floor.page.keyboard.press("Escape")
    await floor.page.wait_for_selector("text=undo your last decision", state="hidden")


async def test_a_deep_link_opens_the_order_it_names(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    order_id = (await floor.until("() => { const l = mallard.queue.listed(); return l.length ? l : null; }"))[0]
    await floor.page.goto(f"{floor.demo.url}/?order={order_id}")
    await floor.page.wait_for_selector(f'#inspect-main [data-order="{order_id}"]')


async def test_the_header_says_replay_its_speed_and_the_malls_own_time(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    # Another test may have decided something on this floor: then it has left its recording.
    assert await floor.page.inner_text("#mode") in {"REPLAY ×4", "FORK ×4"}
    clock = await floor.page.inner_text("#clock")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock)
    await floor.frames(6)
    assert await floor.page.inner_text("#clock") > clock
    assert await floor.page.inner_text("#zone") in {"PST", "PDT"}
    assert re.fullmatch(r"\d\.\d s", await floor.page.inner_text("#feed-age"))


async def test_a_lost_link_is_said_across_the_page_and_the_map_looks_old_until_it_is_back(
    open_floor: OpenFloor,
) -> None:
    floor = await open_floor()
    held: list[WebSocketRoute] = []
    closed = True

    async def between(socket: WebSocketRoute) -> None:
        if closed:
            await socket.close(code=1001)
            return
        held.append(socket)
        socket.connect_to_server()

    await floor.page.route_web_socket(re.compile(r"/feed"), between)
    closed = False
    await floor.page.reload()
    await floor.until(READY)
    frames = await floor.ask("mallard.frames")
    closed = True
    await held[-1].close(code=1001)
    banner = floor.page.locator("#banner")
    await banner.wait_for(state="visible")
    assert re.match(r"Link lost – last update \d+ s ago, retrying", await banner.inner_text())
    await floor.until("() => document.getElementById('pane-map').classList.contains('stale')")
    assert await floor.page.get_attribute("#feed-state", "data-state") == "lost"
    closed = False
    await floor.until("seen => mallard.frames > seen + 2", frames)
    await banner.wait_for(state="hidden")
    assert await floor.ask("document.getElementById('pane-map').classList.contains('stale')") is False


async def test_a_phone_shows_one_pane_at_a_time_and_nothing_sticks_out(open_floor: OpenFloor) -> None:
    floor = await open_floor(width=390, height=844)
    assert await floor.ask("document.documentElement.scrollWidth") <= 390
    age = await floor.page.locator("#feed-age").bounding_box()
    who = await floor.page.locator("#who").bounding_box()
    assert age
    assert who
    assert age["x"] + age["width"] <= who["x"]
    assert who["x"] + who["width"] <= 390
    await floor.page.click('.narrow-tabs [data-pane="queue"]')
    await floor.page.wait_for_selector("#pane-queue", state="visible")
    assert await floor.page.locator("#pane-map").is_hidden()
    await floor.until("() => mallard.queue.listed().length > 0")
    await floor.page.click("#queue-box .ag-row >> nth=0")
    await floor.page.wait_for_selector("#inspect-main [data-order]", state="visible")
    assert await floor.page.locator("#pane-queue").is_hidden()
    await floor.page.click('.narrow-tabs [data-pane="map"]')
    await floor.frames(2)
    assert await floor.ask("mallard.drawnDrivers()") > 0


async def test_every_control_has_a_name_to_be_read_aloud(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.open_order("at_mall")
    nameless = await floor.ask("""() => [...document.querySelectorAll('button, input, a, [role=separator]')]
      .filter(e => e.checkVisibility() && !e.closest('.ag-root'))
      .filter(e => !(e.getAttribute('aria-label') || e.title || e.textContent.trim() || e.labels?.length))
      .map(e => e.outerHTML.slice(0, 120))""")
    assert nameless == []
    await floor.page.focus("#keys-button")
    await floor.page.keyboard.press("Tab")
    outline = await floor.ask("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
