"""The live map: what is drawn, and what of a person's view and choice survives while everything moves."""

from typing import Any

import pytest

from dashboard import theme
from tests.browser.conftest import READY, Floor, OpenFloor

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Drivers in view with nothing else near, so that the pixel under them is theirs.
ALONE = """states => {
  const box = document.getElementById('pane-map').getBoundingClientRect();
  const all = [...mallard.model.drivers.values()].map(d => ({...d, ...mallard.project(d.id)})).filter(d => d.x);
  const pins = [...mallard.map.orders.marks.keys()].map(id => mallard.map.orders.where(id))
    .map(place => mallard.map.map.project([place.lng, place.lat])).map(p => ({x: p.x + box.left, y: p.y + box.top}));
  const near = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) < 15;
  const found = all.filter(d => states.includes(d.state) && d.verdict === 'ok' && d.x > box.left + 60
    && d.x < box.right - 60 && d.y > box.top + 70 && d.y < box.bottom - 60
    && !all.some(o => o.id !== d.id && near(o, d)) && !pins.some(o => near(o, d)));
  return found.length ? found : null;
}"""
VIEW = "() => { const c = mallard.map.map.getCenter(); return [c.lng, c.lat, mallard.map.map.getZoom()]; }"


def rgb(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def alike(seen: list[int], wanted: list[int], by: int = 14) -> bool:
    return all(abs(a - b) <= by for a, b in zip(seen, wanted, strict=True))


async def someone(floor: Floor, *states: str) -> dict[str, Any]:
    return dict((await floor.until(ALONE, states or ["free", "busy"]))[0])


@pytest.mark.parametrize(("scheme", "colours"), [("light", theme.LIGHT), ("dark", theme.DARK)])
@pytest.mark.parametrize("state", ["free", "busy"])
async def test_drivers_are_drawn_where_they_are_in_the_colour_of_their_state(
    open_floor: OpenFloor, scheme: str, colours: dict[str, str], state: str
) -> None:
    floor = await open_floor(scheme=scheme)
    wanted = rgb(colours[f"driver-{state}"])
    for _ in range(5):  # one may move on between the question and the picture
        places = await floor.until(ALONE, [state])
        seen = await floor.pixels([(place["x"], place["y"]) for place in places])
        if any(alike(colour, wanted) for colour in seen):
            break
    assert [colour for colour in seen if alike(colour, wanted)], f"{state} is {wanted}, drawn were {seen}"


async def test_zoom_and_selection_survive_while_data_moves_and_the_style_is_never_set(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    box = await floor.page.locator("#pane-map").bounding_box()
    assert box
    await floor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before = await floor.ask(VIEW)
    await floor.page.mouse.wheel(0, -300)
    await floor.until("zoom => mallard.map.map.getZoom() > zoom + .1 && !mallard.map.map.isMoving()", before[2])
    chosen = await someone(floor)
    await floor.page.mouse.click(chosen["x"], chosen["y"])
    await floor.page.wait_for_selector(f'#inspect-main [data-driver="{chosen["id"]}"]')
    view = await floor.ask(VIEW)
    await floor.frames(12)
    assert await floor.ask(VIEW) == pytest.approx(view, abs=1e-6)
    assert await floor.ask("mallard.hands.selection") == {"kind": "driver", "id": chosen["id"]}
    assert await floor.ask("mallard.setStyleCalls()") == 0


async def test_a_driver_that_moves_moves_on_the_screen(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    start = await floor.until(ALONE, ["busy"])
    moved = """start => start.some(a => {
      const b = mallard.project(a.id);
      return b && Math.hypot(a.x - b.x, a.y - b.y) > 3;
    })"""
    assert await floor.until(moved, start)


async def test_a_route_is_shown_without_setting_the_style_or_moving_the_view(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    view = await floor.ask(VIEW)
    carrying = """() => [...mallard.model.drivers.values()].find(d => d.orders > 1 && d.state === 'busy'
      && mallard.map.map.getBounds().contains([d.lng, d.lat]))?.id"""
    driver_id = await floor.until(carrying)
    await floor.ask("id => mallard.hands.open('driver', id)", driver_id)
    stops = await floor.until("() => mallard.map.graph.data.find(t => t.name === 'stops').lat.length")
    assert stops >= 2
    await floor.frames(4)
    assert await floor.ask("mallard.map.map.getLayersOrder().slice(-2)") == ["mallard-orders", "mallard-drivers"]
    assert await floor.ask(VIEW) == pytest.approx(view, abs=1e-6)
    assert await floor.ask("mallard.setStyleCalls()") == 0


async def test_the_theme_repaints_the_map_and_loses_nothing(open_floor: OpenFloor) -> None:
    floor = await open_floor(scheme="light")
    view = await floor.ask(VIEW)
    await floor.page.click("#theme-switch")
    await floor.until(
        "() => mallard.map.map.getPaintProperty('ground', 'background-color') === mallard.theme.colour('map-ground')"
    )
    await floor.frames(4)
    assert await floor.ask("mallard.theme.isDark()") is True
    chosen = await someone(floor)
    assert alike((await floor.pixels([(chosen["x"], chosen["y"])]))[0], rgb(theme.DARK[f"driver-{chosen['state']}"]))
    assert await floor.ask(VIEW) == pytest.approx(view, abs=1e-6)
    assert await floor.ask("mallard.setStyleCalls()") == 0
    await floor.page.reload()
    await floor.until(READY)
    assert await floor.ask("mallard.theme.isDark()") is True


async def test_hexes_colour_the_ground_where_orders_go(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.page.click("text=Demand")
    await floor.page.click('[data-act="zoom-in"]')
    await floor.until("() => mallard.map.map.queryRenderedFeatures({layers: ['mallard-hexes']}).length > 40")
    await floor.until("() => mallard.map.map.areTilesLoaded() && !document.getElementById('hex-legend').hidden")
    # Two places without any mark: one in a cell with orders, one in a cell without.
    script = """() => {
      const hexes = mallard.map.hexes, map = mallard.map.map;
      const box = document.getElementById('pane-map').getBoundingClientRect();
      const marks = [mallard.map.drivers, mallard.map.orders].flatMap(layer => [...layer.marks.keys()]
        .map(id => layer.where(id))).map(place => map.project([place.lng, place.lat]));
      const found = {};
      for (let x = 80; x < box.width - 80; x += 7) for (let y = 200; y < box.height - 80; y += 7) {
        if (marks.some(m => Math.hypot(m.x - x, m.y - y) < 34)) continue;
        const cell = map.queryRenderedFeatures([x, y], {layers: ['mallard-hexes']})[0]?.properties.cell;
        const value = hexes.value(cell);
        if (cell) found[value > 1 ? 'some' : value ? 'one' : 'none'] = [x + box.left, y + box.top];
      }
      return found.some && found.none ? [found.some, found.none] : null;
    }"""
    some, none = await floor.pixels(await floor.until(script))
    assert alike(none, rgb(theme.LIGHT["map-ground"]), 10)
    assert not alike(some, none, 20)
    assert await floor.ask("mallard.setStyleCalls()") == 0


async def test_the_pointer_over_a_driver_tells_name_state_and_age(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    chosen = await someone(floor)
    await floor.page.mouse.move(chosen["x"] + 1, chosen["y"] + 1)
    tip = await floor.until(
        "() => !document.getElementById('map-tip').hidden && document.getElementById('map-tip').textContent"
    )
    name = await floor.ask("id => mallard.model.drivers.get(id).name", chosen["id"])
    assert tip.startswith(f"{name} · {chosen['state']} · {chosen['orders']} order")
    assert "seen" in tip


async def test_a_click_on_the_mall_opens_it_and_on_the_ground_closes(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    await floor.ask("mallard.hands.open('mall', [...mallard.model.kpis.keys()][0])")
    await floor.page.wait_for_selector("#inspect-main [data-mall]")
    await floor.page.wait_for_selector("#inspect-main >> text=Waiting at the stores")
    free_ground = """() => { const c = mallard.map.map.getContainer().getBoundingClientRect();
      for (let y = 120; y < c.height - 80; y += 9) for (let x = 120; x < c.width - 60; x += 9) {
        const p = mallard.map.map.unproject([x, y]);
        if (!mallard.pick(p.lng, p.lat) && y < 220) return [x + c.left, y + c.top];
      } return null; }"""
    x, y = await floor.until(free_ground)
    await floor.page.mouse.click(x, y)
    await floor.until("() => mallard.hands.selection === null")
    await floor.page.wait_for_selector("text=Nothing selected")


async def test_ten_thousand_drivers_are_drawn_within_the_budget_of_a_frame(open_floor: OpenFloor) -> None:
    floor = await open_floor()
    spent = await floor.ask("""async () => {
      const layer = mallard.map.drivers, start = performance.now();
      for (let i = 0; i < 10000; i += 1) {
        layer.put('x-' + i, {lat: 36.1 + i % 100 / 2000, lng: -115.2 + i / 200000, kind: i % 5}, start);
      }
      const put = performance.now() - start, real = layer.render.bind(layer);
      const drawn = await new Promise(done => {
        layer.render = (gl, args) => {
          const from = performance.now();
          real(gl, args);
          done(performance.now() - from);
        };
        layer.repaint();
      });
      layer.render = real;
      for (let i = 0; i < 10000; i += 1) layer.drop('x-' + i);
      return {put, drawn, count: layer.drawn};
    }""")
    assert spent["count"] > 10_000
    # Software rendering on a shared machine is noisy: this guards against a slip of an order, not of a half.
    assert spent["put"] + spent["drawn"] < 250
