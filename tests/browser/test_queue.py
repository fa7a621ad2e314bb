"""The queue: it follows the feed, and holds still under the pointer."""

import pytest

from tests.browser.conftest import OpenFloor

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATE = """() => {
  const listed = mallard.queue.listed();
  return {listed, values: listed.map(id => mallard.queue.rows.get(id).breach)};
}"""
RISING = """() => {
  const stood = mallard.queue.listed().map(id => mallard.queue.rows.get(id).still.breach);
  return stood.every((breach, i) => !i || stood[i - 1] <= breach);
}"""


async def test_rows_stand_by_minutes_to_breach_and_counts_agree_with_the_figures(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.until("() => mallard.queue.listed().length > 3")
    await floor.until(RISING)
    agree = """() => document.querySelector('[data-count="unassigned"]').textContent
      === document.querySelector('[data-kpi="unassigned"]').textContent"""
    assert await floor.until(agree)


async def test_rows_do_not_move_under_the_pointer_while_their_values_change(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click('[data-tab="all"]')
    await floor.until("() => mallard.queue.listed().length > 20")
    await floor.page.hover("#queue-box .ag-row >> nth=3")
    await floor.frames(2)  # what was on its way to the grid when the pointer came has arrived
    before = await floor.ask(STATE)
    changed = """old => old.listed.filter((id, i) => {
      const row = mallard.queue.rows.get(id);
      return row && Math.abs(row.breach - old.values[i]) > .2;
    }).length > 3"""
    await floor.until(changed, before, seconds=40)
    after = await floor.ask(STATE)
    both = set(before["listed"]) & set(after["listed"])
    assert [order for order in after["listed"] if order in both] == [o for o in before["listed"] if o in both]
    await floor.page.mouse.move(720, 20)
    await floor.until("() => mallard.queue.waiting.size === 0")
    await floor.until(RISING)


async def test_a_search_narrows_the_tab_and_says_when_nothing_matches(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click('[data-tab="all"]')
    order_id = (await floor.until("() => { const l = mallard.queue.listed(); return l.length ? l : null; }"))[0]
    await floor.page.keyboard.press("/")
    await floor.page.keyboard.type(order_id)
    await floor.until("id => { const l = mallard.queue.listed(); return l.includes(id) && l.length < 30; }", order_id)
    await floor.page.fill("#queue-search", "no such thing")
    await floor.page.wait_for_selector("text=No order here matches “no such thing”.")


async def test_an_empty_tab_says_why_it_is_empty(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click('[data-tab="done"]')
    await floor.ask("""() => {
      for (const order of [...mallard.model.orders.values()]) {
        if (mallard.isEnded(order)) mallard.model.orders.delete(order.id);
      }
      mallard.queue.reset();
    }""")
    await floor.page.wait_for_selector("text=Nothing has been delivered, cancelled or returned in the last hour.")


async def test_a_choice_of_malls_keeps_figures_rows_and_marks_together(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.until("() => mallard.queue.rows.size > 0")
    await floor.ask("mallard.chooseMalls(['nowhere'])")
    await floor.until("() => mallard.queue.rows.size === 0 && mallard.map.drivers.marks.size === 0")
    await floor.ask("mallard.chooseMalls([])")
    await floor.until("() => mallard.queue.rows.size > 0 && mallard.map.drivers.marks.size > 0")
