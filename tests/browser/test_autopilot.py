"""The autopilot on the floor: its word on each order, its suggestions accepted, its trips on the map, its rules."""

from typing import Any

import pytest

from tests.browser.conftest import Floor, OpenFloor
from tests.browser.staged import StagedFloor

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROW = "id => { const row = mallard.queue.rows.get(id); return row && row.dispatch; }"
TABS = "id => mallard.queue.rows.get(id)?.tabs"
DASHED = """() => {
  const lines = mallard.map.trips.drawn.features.filter(f => f.geometry.type === 'LineString');
  return lines.length && mallard.map.map.queryRenderedFeatures({layers: ['mallard-trip-lines']}).length
    && lines.map(f => f.geometry.coordinates);
}"""


async def open_order(floor: Floor, order_id: str) -> None:
    """Opens an order the way a link does; the queue is tested elsewhere."""
    await floor.until("id => mallard.model.orders.has(id)", order_id)
    await floor.ask("id => mallard.hands.open('order', id)", order_id)
    await floor.page.wait_for_selector(f'#inspect-main [data-order="{order_id}"]')


async def says(floor: Floor, order_id: str, words: str) -> None:
    """Waits until the dispatch column says this of the order."""
    await floor.until(f"([id, words]) => ({ROW})(id)?.includes(words)", [order_id, words])


async def has_driver(floor: Floor, stage: StagedFloor, order_id: str, driver_id: str | None) -> None:
    await floor.until("([id, driver]) => mallard.model.orders.get(id).driver_id === driver", [order_id, driver_id])
    assert stage.state_of(order_id).driver_id == driver_id


# ---------------------------------------------------------------- the queue


async def test_the_queue_says_what_the_autopilot_makes_of_each_order_and_who_needs_a_hand(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    suggested, waiting, failed, left = [await stage.place(number) for number in range(4)]
    await stage.suggest(suggested, "d-1")
    await stage.suggest(waiting, "d-2", word="waits")
    await stage.advise(failed, "failed", reason="every car is full")
    await stage.advise(left, "left_to_people", reason="held by maya")
    floor = await open_stage()
    await says(floor, suggested, "Suggested · Ana R.")
    await says(floor, waiting, "Waits · 3 min")
    await says(floor, failed, "Failed · every car is full")
    await says(floor, left, "Left to people · held by maya")
    needs = [order_id for order_id in (suggested, waiting, failed, left) if "needs" in await floor.ask(TABS, order_id)]
    assert needs == [suggested, failed]
    assert await floor.ask("id => mallard.queue.rows.get(id).dispatch_words", suggested) == (
        "Suggested to Ana R.: nearest with room"
    )


async def test_a_suggestion_needs_no_hand_where_the_autopilot_decides_alone(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    order_id = await stage.place(1)
    await stage.suggest(order_id)
    floor = await open_stage()
    await floor.until(f"id => ({TABS})(id)?.includes('needs')", order_id)
    await stage.set_rules(mode="auto")
    await floor.until(f"id => !({TABS})(id).includes('needs')", order_id)
    await floor.until("() => document.getElementById('autopilot-button').textContent.includes('Auto')")
    await stage.set_rules(mode="suggest")
    await floor.until(f"id => ({TABS})(id).includes('needs')", order_id)


async def test_an_offer_shows_the_time_left_to_answer_in_queue_and_inspector(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    order_id = await stage.place(5)
    await stage.set_rules(mode="suggest", offer_ms=600_000)
    await stage.offer(order_id, "d-2")
    floor = await open_stage()
    await says(floor, order_id, "Ben T. · 9 min left")
    assert await floor.ask("id => mallard.queue.rows.get(id).status", order_id) == "Offered"
    await open_order(floor, order_id)
    await floor.page.wait_for_selector("#inspect-main .chip:text('Offered · 9 min left')")
    assert "has not answered, lapses" in await floor.page.inner_text("#inspect-details")
    await stage.set_rules(mode="suggest")


# ---------------------------------------------------------------- accepting


async def test_a_suggestion_opens_with_its_effect_and_is_accepted_by_one_key_and_undone(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    order_id = await stage.place(0)
    await stage.suggest(order_id, "d-3")
    floor = await open_stage()
    await open_order(floor, order_id)
    await floor.page.wait_for_selector(f'#inspect-preview [data-act="commit"][data-order="{order_id}"]')
    assert "1 order touched" in await floor.page.inner_text("#inspect-preview")
    assert stage.state_of(order_id).driver_id is None
    await floor.page.keyboard.press("y")
    await floor.page.wait_for_selector(f"text={order_id} assigned to Cleo M.")
    await has_driver(floor, stage, order_id, "d-3")
    last = stage.state_of(order_id).history[-1]
    assert (last.actor, last.action) == (stage.passwords["dispatcher"][0], "assign")
    await floor.page.wait_for_selector("[data-advice]", state="detached")
    await floor.page.keyboard.press("z")
    await floor.page.wait_for_selector("text=Undone.")
    await has_driver(floor, stage, order_id, None)


async def test_a_plan_is_accepted_by_mouse_after_its_effect_was_shown(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    order_id = await stage.place(3)
    await stage.suggest(order_id, "d-2", word="planned")
    floor = await open_stage()
    await open_order(floor, order_id)
    await floor.page.click('[data-advice="planned"] [data-act="accept"]')
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"][data-driver="d-2"]')
    assert stage.state_of(order_id).driver_id is None, "the first click only shows the effect"
    await floor.page.click('[data-advice="planned"] [data-act="accept"]')
    await has_driver(floor, stage, order_id, "d-2")
    await floor.page.click('.done [data-act="undo"]')
    await has_driver(floor, stage, order_id, None)


async def test_enter_on_the_block_accepts_like_a_click(open_stage: OpenFloor, stage: StagedFloor) -> None:
    order_id = await stage.place(4)
    await stage.suggest(order_id, "d-1")
    floor = await open_stage()
    await open_order(floor, order_id)
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"]')
    await floor.page.focus("[data-advice]")
    await floor.page.keyboard.press("Enter")
    await has_driver(floor, stage, order_id, "d-1")


async def test_an_effect_nobody_asked_for_goes_when_another_driver_is_suggested(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    order_id = await stage.place(1)
    await stage.suggest(order_id, "d-1")
    floor = await open_stage()
    await open_order(floor, order_id)
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"][data-driver="d-1"]')
    await stage.suggest(order_id, "d-3")
    await floor.page.wait_for_selector('[data-act="accept"][data-driver="d-3"]')
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"]', state="detached")
    await floor.page.keyboard.press("y")
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"][data-driver="d-3"]')
    assert stage.state_of(order_id).driver_id is None, "the key has shown the new effect, and done nothing"


async def test_a_suggestion_accepted_on_an_old_version_is_a_conflict(open_stage: OpenFloor, stage: StagedFloor) -> None:
    order_id = await stage.place(2)
    await stage.suggest(order_id, "d-1")
    floor = await open_stage()
    await open_order(floor, order_id)
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"]')
    version = int(str(await floor.page.get_attribute('[data-act="commit"]', "data-version")))
    held = await stage.rest("POST", f"/orders/{order_id}/hold", json={"expected_version": version, "reason": "a call"})
    assert held.status_code == 200
    await floor.ask(
        """version => {
      const commit = document.querySelector('[data-act="commit"]');
      commit.dataset.version = version; // as if the page had not heard of it yet
      commit.click();
    }""",
        version,
    )
    floor.faults.clear()
    dialog = floor.page.get_by_role("dialog", name="Somebody was faster")
    await dialog.wait_for()
    assert "a call" in await dialog.inner_text()
    assert stage.state_of(order_id).driver_id is None


async def test_the_block_says_what_waiting_brings_and_who_shares_the_trip(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    first, second = await stage.place(0), await stage.place(1)
    for order_id in (first, second):
        await stage.suggest(order_id, "d-1", (second, first), word="waits", reason="its store is not ready")
    floor = await open_stage()
    await open_order(floor, first)
    shown = await floor.page.inner_text("[data-advice]")
    assert "Hold 3 min: +1 order on this trip, nobody late." in shown
    assert await floor.page.locator("[data-advice] .route li").all_inner_texts()
    await floor.page.click(f'[data-advice] [data-open-order="{second}"]')
    await floor.page.wait_for_selector(f'#inspect-main [data-order="{second}"]')


async def test_a_whole_trip_is_accepted_at_once_and_what_changed_meanwhile_is_named(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    orders = [await stage.place(number) for number in range(3)]
    for order_id in orders:
        await stage.suggest(order_id, "d-1", tuple(orders))
    floor = await open_stage()
    await open_order(floor, orders[0])
    await floor.page.wait_for_selector('[data-act="accept-trip"]:has-text("3 orders to Ana")')
    await floor.ask(
        """order_id => {
      const accept = document.querySelector('[data-act="accept-trip"]');
      accept.dataset.orders = accept.dataset.orders.replace(new RegExp(order_id + '@[0-9]+'), order_id + '@999');
      accept.click();
    }""",
        orders[2],
    )
    await floor.page.wait_for_selector("text=2 of 3 orders of the trip given to Ana")
    assert f"{orders[2]} stays in the queue" in await floor.page.inner_text(".trip-done")
    for order_id in orders[:2]:
        await has_driver(floor, stage, order_id, "d-1")
    assert stage.state_of(orders[2]).driver_id is None
    await floor.page.click('.trip-done [data-act="undo"]')
    await has_driver(floor, stage, orders[0], None)


async def test_a_viewer_reads_the_advice_and_cannot_accept_it(open_stage: OpenFloor, stage: StagedFloor) -> None:
    order_id = await stage.place(0)
    await stage.suggest(order_id)
    floor = await open_stage(role="viewer")
    await open_order(floor, order_id)
    accept = floor.page.locator('[data-act="accept"]')
    assert await accept.is_disabled()
    await floor.page.keyboard.press("y")
    await floor.page.wait_for_selector(".mantine-Notification-root:has-text('You are logged in as viewer')")
    assert stage.state_of(order_id).driver_id is None


# ---------------------------------------------------------------- the map


async def test_the_trip_of_the_selected_order_is_drawn_dashed_and_all_by_a_key(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    here, there, other = [await stage.place(number) for number in (0, 2, 4)]
    for order_id in (here, there):
        await stage.suggest(order_id, "d-1", (there, here))
    await stage.suggest(other, "d-3")
    floor = await open_stage()
    assert await floor.ask("mallard.map.trips.drawn.features") == []
    await open_order(floor, here)
    (line,) = await floor.until(DASHED)
    homes = [stage.state_of(order_id).dropoff for order_id in (there, here)]
    driver = stage.runner.engine.state.drivers["d-1"].ping
    assert driver
    assert line[0] == pytest.approx([driver.lng, driver.lat], abs=1e-4)
    assert line[2:] == [pytest.approx([home.lng, home.lat], abs=1e-6) for home in homes]
    assert await floor.ask("mallard.map.graph.data.find(t => t.name === 'route').lat.filter(Number).length") == 0
    await floor.page.keyboard.press("t")
    await floor.until(f"() => ({DASHED})().length > 1")
    assert await floor.page.get_attribute('[data-act="trips"]', "aria-pressed") == "true"
    await floor.page.click('[data-act="trips"]')
    await floor.until(f"() => ({DASHED})().length === 1")
    order = await floor.ask("mallard.map.map.getLayersOrder()")
    assert order.index("mallard-trip-lines") < order.index("mallard-orders")
    assert await floor.ask("mallard.setStyleCalls()") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_trip_is_inked_for_the_scheme_and_repainted_with_it(
    open_stage: OpenFloor, stage: StagedFloor, scheme: str
) -> None:
    order_id = await stage.place(0)
    await stage.suggest(order_id)
    floor = await open_stage(scheme=scheme)
    await open_order(floor, order_id)
    inked = """() => {
      const ink = mallard.theme.colour('trip');
      return mallard.map.map.getPaintProperty('mallard-trip-lines', 'line-color') === ink && ink;
    }"""
    before = await floor.until(inked)
    await floor.page.click("#theme-switch")
    await floor.until(f"before => {{ const ink = ({inked})(); return ink && ink !== before; }}", before)
    assert await floor.ask("mallard.setStyleCalls()") == 0


# ---------------------------------------------------------------- the rules


async def rules_dialog(floor: Floor) -> Any:
    """Opens the dialog by its key, and waits until it is filled."""
    await floor.page.wait_for_selector("#autopilot-button")
    await floor.page.keyboard.press("m")
    dialog = floor.page.get_by_role("dialog", name="Autopilot")
    await dialog.wait_for()
    await floor.until("() => document.getElementById('autopilot-look').value === '3600'")
    return dialog


async def test_an_ops_lead_changes_the_mode_with_a_reason_and_it_is_in_the_badge_and_the_audit(
    open_stage: OpenFloor, stage: StagedFloor
) -> None:
    floor = await open_stage(role="ops-lead")
    dialog = await rules_dialog(floor)
    await dialog.get_by_label("Auto + exceptions").check()
    await dialog.get_by_label("Orders per trip").fill("3")
    await dialog.get_by_role("button", name="Save").click()
    await dialog.get_by_text("Say why: the reason goes into the audit.").wait_for()
    await dialog.get_by_label("Reason").fill("a quiet evening")
    await dialog.get_by_label("Looks every (s)").fill("0")
    await dialog.get_by_role("button", name="Save").click()
    await dialog.get_by_text("“Looks every (s)” takes a number from 1 to 3600.").wait_for()
    assert stage.runner.engine.state.autopilot.get("plaza") is None or (
        stage.runner.engine.state.autopilot["plaza"].mode == "suggest"
    )
    await dialog.get_by_label("Looks every (s)").fill("3600")
    await dialog.get_by_role("button", name="Save").click()
    await dialog.wait_for(state="hidden")
    rules = stage.runner.engine.state.autopilot["plaza"]
    assert (rules.mode, rules.trip_orders, rules.look_ms) == ("auto_with_exceptions", 3, 3_600_000)
    await floor.until("() => document.getElementById('autopilot-button').textContent.includes('Auto + exceptions')")
    await stage.set_rules(mode="suggest")
    await floor.until("() => document.getElementById('autopilot-button').textContent.includes('Suggest')")


async def test_a_dispatcher_reads_the_rules_and_cannot_change_them(open_stage: OpenFloor, stage: StagedFloor) -> None:
    floor = await open_stage(role="dispatcher")
    dialog = await rules_dialog(floor)
    await dialog.get_by_text("You are logged in as dispatcher: an ops lead changes these.").wait_for()
    assert await dialog.get_by_label("Looks every (s)").is_disabled()
    save = dialog.get_by_role("button", name="Save")
    assert await save.is_disabled()
    # Whoever forces the button open is refused all the same.
    await floor.ask("document.getElementById('autopilot-fields').disabled = false")
    await dialog.get_by_label("Off", exact=True).check()
    await dialog.get_by_label("Reason").fill("because")
    await save.click()
    await dialog.locator("#autopilot-problem").get_by_text("an ops lead changes these").wait_for()
    assert stage.runner.engine.state.autopilot.get("plaza") is None or (
        stage.runner.engine.state.autopilot["plaza"].mode == "suggest"
    )


async def test_on_a_phone_the_advice_is_read_and_accepted(open_stage: OpenFloor, stage: StagedFloor) -> None:
    order_id = await stage.place(3)
    await stage.suggest(order_id, "d-3")
    floor = await open_stage(width=390, height=844)
    await floor.page.click('.narrow-tabs [data-pane="queue"]')
    await says(floor, order_id, "Suggested · Cleo M.")
    await open_order(floor, order_id)
    assert await floor.ask("document.documentElement.scrollWidth") <= 390
    await floor.page.wait_for_selector('#inspect-preview [data-act="commit"]')
    await floor.page.click('[data-act="accept"]')
    await has_driver(floor, stage, order_id, "d-3")
