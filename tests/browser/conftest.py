"""The real product in a real browser: `mallard demo` on free ports, and pages that notice what they should not do."""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from tests.browser.staged import StagedFloor, staged_floor

ROOT = Path(__file__).parent.parent.parent
START_S = 60
SPEED = 4
# Software rendering: the tests look at pixels, and the machine may have no graphics card.
CHROMIUM = (
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--disable-background-networking",
)
# Drivers are drawn, the account is known, and the map shows the view it was asked for.
READY = """() => {
  if (!window.mallard?.model || !mallard.map.fitted || !mallard.drawnDrivers()) return false;
  const asked = dash_component_api.getLayout('map').props.figure.layout.map.zoom;
  return document.getElementById('who') && Math.abs(mallard.map.map.getZoom() - asked) < .001;
}"""
FRAMES = "(window.mallard?.frames ?? 0)"


@dataclass
class Demo:
    """A running demo: where it is, and who may log in."""

    url: str
    passwords: dict[str, tuple[str, str]]
    token: str

    def rest(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Another client: a program with the demo's token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=10, **more)

    def order(self, order_id: str) -> dict[str, Any]:
        """The order as the floor has it now."""
        return dict(self.rest("GET", f"/orders/{order_id}").raise_for_status().json())


@dataclass
class Floor:
    """A page on the floor, and what went wrong on it."""

    page: Page
    demo: Demo
    faults: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    async def ask(self, script: str, about: Any = None) -> Any:
        """Evaluates an expression or a function in the page."""
        return await self.page.evaluate(script, about)

    async def until(self, script: str, about: Any = None, seconds: float = 45) -> Any:
        """Waits until the script gives something true, and gives it back."""
        handle = await self.page.wait_for_function(script, arg=about, timeout=seconds * 1000)
        return await handle.json_value()

    async def frames(self, number: int) -> None:
        """Waits until this many more frames have been drawn from."""
        await self.until(f"seen => {FRAMES} >= seen", await self.ask(FRAMES) + number)

    async def pixels(self, points: list[tuple[float, float]]) -> list[list[int]]:
        """The colours a person sees at these places of the page, as [red, green, blue]."""
        picture = await self.page.screenshot(type="png")
        script = """async ([picture, points]) => {
          const image = new Image();
          image.src = 'data:image/png;base64,' + picture;
          await image.decode();
          const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
          canvas.drawImage(image, 0, 0);
          return points.map(([x, y]) => [...canvas.getImageData(Math.round(x), Math.round(y), 1, 1).data.slice(0, 3)]);
        }"""
        return list(await self.ask(script, [base64.b64encode(picture).decode(), points]))

    async def open_order(self, tab: str) -> str:
        """Clicks the first order of a tab that has candidates and is not just being collected; gives its id."""
        await self.page.click(f'[data-tab="{tab}"]')
        await self.until("() => mallard.queue.listed().length > 0")
        # The recording goes on: an order that is about to change by itself would meet the test as a conflict.
        early = """id => {
          const now = Math.max(...[...mallard.model.orders.values()].map(o => o.updated_ms));
          const o = mallard.model.orders.get(id);
          return !o.driver_id || (o.status === 'enroute_to_pickup' && o.eta_pickup_ms > now + 300000);
        }"""
        for order_id in (await self.ask(f"mallard.queue.listed().filter({early})"))[:12]:
            if len(self.demo.rest("GET", f"/orders/{order_id}/candidates").json().get("items", [])) > 1:
                await self.page.click(f'#queue-box .ag-row[row-id="{order_id}"]')
                await self.page.wait_for_selector(f'#inspect-main [data-order="{order_id}"]')
                await self.page.wait_for_selector("[data-candidate]")
                return str(order_id)
        pytest.fail(f"no order in the tab {tab} has two candidates")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo of the saturday rush, four times as fast as it was."""
    said = tmp_path_factory.mktemp("demo") / "said.txt"
    command = [sys.executable, "-m", "streamer.cli", "demo", "saturday-rush", "--no-open", "--speed", str(SPEED)]
    ports = ["--port", str(free_port()), "--ingest-port", str(free_port())]
    with said.open("w") as out:
        process = subprocess.Popen(
            [*command, *ports], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "200"}
        )
    try:
        yield wait_for(process, said)
    finally:
        process.terminate()
        process.wait(15)


def wait_for(process: subprocess.Popen[bytes], said: Path) -> Demo:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        text = said.read_text()
        if "Ctrl-C" in text:
            url = re.search(r"floor\s+(http://\S+)", text)
            token = re.search(r"API token\s+(\S+)", text)
            people = re.findall(r"(viewer|dispatcher|ops-lead)\s+(\S+) / (\S+)", text)
            assert url
            assert token
            return Demo(url[1], {role: (name, password) for role, name, password in people}, token[1])
        assert process.poll() is None, f"the demo ended: {text}"
        time.sleep(0.1)
    pytest.fail(f"the demo did not start: {said.read_text()}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "these tests need Chromium: install the package `chromium`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(CHROMIUM))
        yield browser
        await browser.close()


OpenFloor = Callable[..., Awaitable[Floor]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_floor(demo: Demo, chromium: Browser) -> AsyncIterator[OpenFloor]:
    """Opens the demo's floor as somebody of a role."""
    async with pages_of(demo, chromium) as enter:
        yield enter


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StagedFloor]:
    """A floor of its own, where nothing happens but what a test does."""
    async with staged_floor(tmp_path_factory.mktemp("stage"), free_port()) as floor:
        yield floor


@pytest_asyncio.fixture(loop_scope="session")
async def open_stage(stage: StagedFloor, chromium: Browser) -> AsyncIterator[OpenFloor]:
    """Opens the staged floor as somebody of a role."""
    async with pages_of(stage, chromium) as enter:
        yield enter


@asynccontextmanager
async def pages_of(demo: Demo | StagedFloor, chromium: Browser) -> AsyncIterator[OpenFloor]:
    """Opens pages of a floor, each logged in and waited for until drivers are drawn.

    When the test is over, no page may have said an error or asked anything of another machine.
    """
    opened: list[Floor] = []
    async with AsyncExitStack() as stack:

        async def enter(role: str = "dispatcher", width: int = 1440, height: int = 900, scheme: str = "light") -> Floor:
            context = await chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
            )
            stack.push_async_callback(context.close)
            floor = Floor(await context.new_page(), demo)  # type: ignore[arg-type]  # a stage has url and passwords
            opened.append(floor)
            await log_in(floor, role)
            return floor

        yield enter
        for floor in opened:
            assert floor.faults == []
            assert floor.strangers == []


async def log_in(floor: Floor, role: str) -> None:
    page = floor.page
    name, password = floor.demo.passwords[role]
    await page.goto(f"{floor.demo.url}/login")
    page.on("console", lambda message: note_fault(floor, message))
    page.on("pageerror", lambda error: floor.faults.append(str(error)))
    page.on("request", lambda request: note_stranger(floor, request))
    await page.fill("#name", name)
    await page.fill("#password", password)
    await page.click("button")
    await floor.until(READY, seconds=40)


def note_fault(floor: Floor, message: ConsoleMessage) -> None:
    if message.type == "error":
        floor.faults.append(message.text)


def note_stranger(floor: Floor, request: Request) -> None:
    if urlsplit(request.url).scheme not in {"data", "blob"} and urlsplit(request.url).hostname != "127.0.0.1":
        floor.strangers.append(request.url)
