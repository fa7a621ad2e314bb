"""Reassigning by hand: two moves, their effect first, an undo, and what happens when somebody was faster."""

from typing import Any

import pytest

from tests.browser.conftest import Floor, OpenFloor

NOT_COLLECTED = "o => ['assigned', 'enroute_to_pickup'].includes(o.status)"
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def choose(floor: Floor, place: int) -> str:
    """Clicks a candidate and waits for its preview; gives the driver's id."""
    row = floor.page.locator("[data-candidate]").nth(place)
    driver_id = await row.get_attribute("data-candidate")
    await row.click()
    await floor.page.wait_for_selector(f'#inspect-preview [data-act="commit"][data-driver="{driver_id}"]')
    return str(driver_id)


async def has_driver(floor: Floor, order_id: str, driver_id: str | None) -> dict[str, Any]:
    await floor.until("([id, driver]) => mallard.model.orders.get(id).driver_id === driver", [order_id, driver_id])
    return floor.demo.order(order_id)


async def test_an_order_is_reassigned_by_clicking_and_undone(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    order_id = await floor.open_order("at_mall")
    before = floor.demo.order(order_id)
    driver_id = await choose(floor, 0)
    assert driver_id != before["driver_id"]
    effects = await floor.page.inner_text("#inspect-preview")
    assert order_id in effects
    assert "min" in effects
    await floor.page.fill("#reason", "closer to the door")
    await floor.page.click('[data-act="commit"]')
    await floor.page.wait_for_selector(f"text={order_id} reassigned to")
    await floor.until("() => document.querySelector('#mode').textContent === 'FORK ×4'")
    assert "drivers do as they are told" in str(await floor.page.get_attribute("#mode", "title"))
    assert (await has_driver(floor, order_id, driver_id))["driver_id"] == driver_id
    said = floor.demo.rest("GET", f"/orders/{order_id}/history").json()["items"]
    (mine,) = [item for item in said if item.get("reason") == "closer to the door"]
    assert (mine["actor"], mine["action"]) == (floor.demo.passwords["dispatcher"][0], "reassign")
    assert await floor.page.input_value("#reason") == ""
    await floor.page.click('.done [data-act="undo"]')
    await floor.page.wait_for_selector("text=Undone.")
    await floor.page.wait_for_selector('.done [data-act="undo"]', state="detached")
    assert (await has_driver(floor, order_id, before["driver_id"]))["driver_id"] == before["driver_id"]


async def test_a_conflict_shows_who_was_faster_and_offers_the_same_again(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    order_id = await floor.open_order("unassigned")
    driver_id = await choose(floor, 0)
    # Another client changes the order, and the button is pressed before the feed can tell.
    status = await floor.ask(
        """async ([url, token]) => {
          const button = document.querySelector('[data-act="commit"]');
          const seen = {...button.dataset};
          const body = JSON.stringify({expected_version: Number(seen.version), reason: 'asked by the store'});
          const headers = {'content-type': 'application/json', authorization: 'Bearer ' + token};
          const reply = await fetch(url, {method: 'POST', headers, body, credentials: 'omit'});
          Object.assign(button.dataset, seen); // the page may have heard of it meanwhile, and shown the new version
          button.click();
          return reply.status;
        }""",
        [f"{floor.demo.url}/api/v1/orders/{order_id}/hold", floor.demo.token],
    )
    assert status == 200
    floor.faults.clear()
    dialog = floor.page.get_by_role("dialog", name="Somebody was faster")
    await dialog.wait_for()
    told = await dialog.inner_text()
    assert "put on hold" in told
    assert "asked by the store" in told
    assert floor.demo.order(order_id)["driver_id"] != driver_id
    await dialog.locator('[data-act="again"]').click()
    assert (await has_driver(floor, order_id, driver_id))["held"] in {True, False}


async def test_an_unassigned_order_is_assigned_by_keys_alone(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    order_id = await floor.open_order("unassigned")
    await floor.page.keyboard.press("2")
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"]')
    chosen = await floor.page.get_attribute('[data-act="commit"]', "data-driver")
    await floor.page.keyboard.press("a")
    await floor.page.wait_for_selector(f"text={order_id} assigned to")
    assert (await has_driver(floor, order_id, chosen))["driver_id"] == chosen
    await floor.page.keyboard.press("z")
    await floor.page.wait_for_selector("text=Undone.")
    assert (await has_driver(floor, order_id, None))["driver_id"] is None


async def test_hold_release_and_unassign_work_from_the_panel(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    order_id = await floor.open_order("at_mall")
    await floor.page.keyboard.press("h")
    await floor.until("id => mallard.model.orders.get(id).held", order_id)
    await floor.page.wait_for_selector('#inspect-main [data-act="release"]')
    await floor.page.click('#inspect-main [data-act="release"]')
    await floor.until("id => !mallard.model.orders.get(id).held", order_id)
    await floor.page.wait_for_selector('#inspect-main [data-act="hold"]')
    await floor.page.click('#inspect-main [data-act="unassign"]')
    assert (await has_driver(floor, order_id, None))["driver_id"] is None


async def test_a_cancellation_is_asked_about_first(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    order_id = await floor.open_order("unassigned")
    await floor.page.click('#inspect-main [data-act="cancel"]')
    dialog = floor.page.get_by_role("dialog", name="Are you sure?")
    await dialog.locator('[data-act="drop-intent"]').click()
    await dialog.wait_for(state="hidden")
    assert floor.demo.order(order_id)["status"] != "cancelled"
    await floor.page.click('#inspect-main [data-act="cancel"]')
    await dialog.locator('[data-act="confirmed"]').click()
    await floor.until("id => mallard.model.orders.get(id).status === 'cancelled'", order_id)


async def test_all_orders_of_a_driver_are_handed_over_to_the_queue(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    waiting = f"() => [...mallard.model.orders.values()].find({NOT_COLLECTED})?.driver_id"
    driver_id = await floor.until(waiting)
    await floor.ask("id => mallard.hands.open('driver', id)", driver_id)
    await floor.page.click('#inspect-main [data-act="hand-over"]')
    dialog = floor.page.get_by_role("dialog", name="Hand over all orders")
    await dialog.wait_for()
    assert await dialog.get_by_label("Who takes over").first.input_value() == "Nobody: back to the queue"
    await floor.page.click("#hand-over-go")
    await floor.page.wait_for_selector("text=were handed over")
    await floor.until(
        f"id => ![...mallard.model.orders.values()].some(o => o.driver_id === id && ({NOT_COLLECTED})(o))", driver_id
    )


async def test_a_viewer_sees_why_nothing_can_be_done(open_floor: OpenFloor) -> None:
    floor = await open_floor(role="viewer")
    await floor.page.click('[data-tab="at_mall"]')
    await floor.page.click("#queue-box .ag-row >> nth=0")
    await floor.page.wait_for_selector("#inspect-main [data-order]")
    buttons = floor.page.locator("#inspect-main .actions button")
    assert await buttons.count() > 0
    for place in range(await buttons.count()):
        assert await buttons.nth(place).is_disabled()
    assert "You are logged in as viewer" in await floor.page.inner_text("#inspect-main")
    assert await floor.page.locator("[data-candidate]").count() == 0
    order_id = await floor.page.get_attribute("#inspect-main [data-order]", "data-order")
    await floor.page.keyboard.press("u")
    await floor.frames(4)
    # The recording may touch the order meanwhile; the viewer may not.
    history = floor.demo.rest("GET", f"/orders/{order_id}/history").raise_for_status().json()["items"]
    assert history
    assert floor.demo.passwords["viewer"][0] not in {entry["actor"] for entry in history}
    assert await floor.ask("mallard.outcomes") == 0
