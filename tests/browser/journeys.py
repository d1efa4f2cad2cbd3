"""The explorer in Chromium: each journey, by keyboard too, and axe on every page.

``make browser`` runs it; the pictures of all pages go to the folder SCREENSHOTS, if it is set.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from tests.conftest import SECONDS, Process, Server

import visual_memory
import visual_memory_service.demo as demo
from visual_memory import Client, Memory

CHROMIUM = shutil.which("chromium")
PHOTOGRAPHS = Path(demo.__file__).with_name("caltech101")
LABELS = ("bonsai", "butterfly", "dragonfly", "kangaroo", "laptop", "starfish")
EACH = 12
WRONG = {"butterfly/0.jpg": "kangaroo", "starfish/1.jpg": "laptop"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202etxet"
SCREENSHOTS = os.environ.get("SCREENSHOTS")
WIDTHS = (390, 820, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# The innermost elements that reach beyond the window, if the page can be scrolled sideways.
WIDE = """[...document.querySelectorAll("main *")].filter((each) =>
    document.documentElement.scrollWidth > innerWidth && !each.children.length
    && each.getBoundingClientRect().right > innerWidth
).slice(0, 5).map((each) => each.outerHTML.slice(0, 200))"""


class Explorer(Process):
    """A ``visual-memory explorer`` process."""

    def __init__(self, server: Server) -> None:
        results = Path(__file__).resolve().parents[2] / "docs"
        self.begin("explorer", "--server", server.address, "--results", results)
        self.web = self.address.removeprefix("explorer on ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("browsed") / "data", "--erasure", "files")
    yield server
    assert server.end() == 0


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def explorer(server: Server) -> Iterator[Explorer]:
    explorer = Explorer(server)
    yield explorer
    assert explorer.end() == 0
    assert "Traceback" not in explorer.last_log


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None, "Install chromium first, such as by apt-get."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser, explorer: Explorer) -> Iterator[BrowserContext]:
    """A browser that has come in, and that fails if a page is loud, or asks another machine."""
    context = chromium.new_context(base_url=explorer.web, accept_downloads=True)
    trouble = list[str]()
    context.on("request", lambda sent: trouble.extend(strangers(sent.url, explorer)))
    context.on("console", lambda said: trouble.extend(errors(said)))
    context.on("weberror", lambda error: trouble.append(str(error.error)))
    context.on("dialog", lambda dialog: trouble.append(dialog.message))
    context.new_page().goto("/login")
    yield context
    context.close()
    assert trouble == []


def errors(said: ConsoleMessage) -> list[str]:
    """Return an error of the console in a list, unless it is the status of a refusal."""
    return [said.text] if said.type == "error" and "status of 400" not in said.text else []


def strangers(url: str, explorer: Explorer) -> list[str]:
    """Return an address in a list, unless it is one of the explorer or of the page itself."""
    own = urlsplit(url).netloc == urlsplit(explorer.web).netloc
    return [] if own or urlsplit(url).scheme in ("data", "blob") else [url]


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.pages[0]


@pytest.fixture
def memory(client: Client) -> Memory:
    """A memory of the demo's photographs, two of them with a wrong label."""
    name = f"photographs-{time.monotonic_ns() % 10**8}"
    memory = client.create_memory(name, embedder="efficientnet-lite0", store_images=True)
    found = {
        f"{label}/{n}.jpg": path
        for label in LABELS
        for n, path in enumerate(sorted((PHOTOGRAPHS / label).iterdir())[:EACH])
    }
    memory.insert(
        images=list(found.values()),
        labels=[WRONG.get(id, id.partition("/")[0]) for id in found],
        ids=list(found),
    )
    return memory


def photograph(label: str) -> Path:
    """Return a photograph that is not in the memory."""
    return sorted((PHOTOGRAPHS / label).iterdir())[EACH]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it takes too long."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def press(page: Page, text: str) -> None:
    """Press the button of this text, and wait for the page that it leads to."""
    with page.expect_navigation():
        page.get_by_role("button", name=text).first.click()


def check(page: Page) -> None:
    """Fail at what axe finds serious, and at a page that is wider than the window."""
    found = Axe().run(page)
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == [], page.url
    assert page.evaluate(WIDE) == [], page.url


def every_page(page: Page, memory: Memory) -> dict[str, str]:
    """Return all pages by name, after something was done on most of them."""
    of = f"/memories/{memory.name}"
    assessed = memory.assess().operation
    pruned = memory.prune(method="hard", k=5, threshold=1).operation
    unlearned = memory.unlearn(["kangaroo/3.jpg"]).operation
    page.goto(f"{of}/decide")
    with page.expect_navigation():
        page.set_input_files("#picture", photograph("starfish"))
    asked = page.url
    page.goto(f"{of}/map")
    press(page, "Compute the map")
    page.wait_for_selector("[data-drawn]", timeout=60_000)
    return {
        "memories": "/",
        "entries": of,
        "filtered": f"{of}?label=bonsai",
        "entry": f"{of}/entry?id={quote('bonsai/1.jpg')}",
        "map": f"{of}/map",
        "decide": asked,
        "what-if": f"{of}/decide?entry={quote('bonsai/1.jpg')}&without={quote('bonsai/2.jpg')}",
        "clean": f"{of}/clean",
        "suspects": f"/operation?name={quote(assessed)}",
        "prune": f"/operation?name={quote(pruned)}",
        "unlearn": f"{of}/unlearn",
        "unlearned": f"/operation?name={quote(unlearned)}",
        "operations": f"{of}/operations",
        "audit": f"{of}/audit?verify=1",
        "compare": "/compare",
        "verify": "/verify",
        "results": "/results",
    }


def test_no_page_has_a_serious_finding_in_any_width_or_scheme(page: Page, memory: Memory) -> None:
    for name, path in every_page(page, memory).items():
        page.goto(path)
        for width in WIDTHS:
            for scheme in SCHEMES:
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme)
                page.wait_for_load_state("networkidle")
                if width == WIDTHS[0] or scheme == "dark":
                    check(page)
                if SCREENSHOTS:
                    shot = Path(SCREENSHOTS) / f"{name}-{width}-{scheme}.png"
                    page.screenshot(path=shot, full_page=True)


def test_suspects_are_judged_by_keys_and_undone(page: Page, memory: Memory) -> None:
    page.goto(f"/memories/{memory.name}/clean")
    tab_to(page, "Assess all entries")
    page.keyboard.press("Enter")
    page.wait_for_selector(".case", timeout=30_000)
    asked = [each.get_attribute("value") for each in page.locator("[name^='id-']").all()]
    assert set(WRONG) <= set(asked)

    for id in asked:
        page.keyboard.press("j")
        if id in WRONG:
            page.keyboard.press("2")
            page.keyboard.press("k")
    tab_to(page, "Send the choices")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "2 entries relabelled" in page.locator(".said").inner_text()
    assert {id: memory.get(id).label for id in WRONG} == {id: id.partition("/")[0] for id in WRONG}
    tab_to(page, "undo")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert {id: memory.get(id).label for id in WRONG} == WRONG


def tab_to(page: Page, text: str) -> None:
    """Press the tabulator until the button of this text has the focus."""
    for _ in range(500):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == text:
            return
    raise AssertionError(f"No way by keys to {text!r}")


def test_a_picture_is_dropped_asked_changed_as_a_question_and_for_real(
    page: Page, memory: Memory
) -> None:
    digest = memory.info().digest
    page.goto(f"/memories/{memory.name}/decide")
    with page.expect_navigation():
        drop(page, photograph("butterfly"))
    assert page.locator(".verdict .label").first.inner_text() == "butterfly"
    neighbors = [each.get_attribute("value") for each in page.locator("[name=without]").all()]

    page.locator("[name=without]").first.check()
    page.get_by_text("with your changes").wait_for()
    assert memory.info().digest == digest
    press(page, "do it for real")
    assert neighbors[0] is not None
    assert memory.get(neighbors[0]).pruned_by
    press(page, "undo")
    assert not memory.get(neighbors[0]).pruned_by


def drop(page: Page, path: Path) -> None:
    """Drop a picture on the page, as from a folder."""
    page.evaluate(
        """([bytes, name]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/jpeg"}));
            const event = {dataTransfer: data, bubbles: true, cancelable: true};
            document.body.dispatchEvent(new DragEvent("drop", event));
        }""",
        [list(path.read_bytes()), path.name],
    )


def test_an_entry_is_unlearned_and_its_certificate_verified(
    page: Page, memory: Memory, tmp_path: Path
) -> None:
    page.goto(f"/memories/{memory.name}/entry?id={quote('bonsai/1.jpg')}")
    page.goto(f"/memories/{memory.name}/unlearn")
    page.fill("#ids", "bonsai/1.jpg\nnever-there")
    press(page, "Count them")
    assert "1 entry" in page.locator("main").inner_text()
    with page.expect_navigation():
        page.locator("button.danger").click()
    link = page.get_by_role("link", name="Download the certificate")
    link.wait_for(timeout=30_000)
    with page.expect_download() as downloaded:
        link.click()
    certificate = tmp_path / "certificate.json"
    downloaded.value.save_as(certificate)

    page.goto("/verify")
    page.set_input_files("#file", certificate)
    page.fill("#id", "bonsai/1.jpg")
    with page.expect_navigation():
        page.locator("main button.main").click()
    assert "bonsai/1.jpg is one of them" in page.locator("main").inner_text()


def test_a_prune_is_shown_before_it_is_done(page: Page, memory: Memory) -> None:
    page.goto(f"/memories/{memory.name}/clean")
    page.fill("#hard-k", "5")
    page.fill("#threshold", "1")
    press(page, "Show what it would prune")
    button = page.get_by_role("button", name=re.compile("Prune these"))
    button.wait_for(timeout=30_000)
    assert memory.info().pruned_count == 0
    with page.expect_navigation():
        button.click()
    assert memory.info().pruned_count > 0
    press(page, "undo")
    assert memory.info().pruned_count == 0


def test_a_map_is_read_by_mouse_and_by_keys(page: Page, memory: Memory) -> None:
    memory.assess()
    page.goto(f"/memories/{memory.name}/map")
    press(page, "Compute the map")
    page.wait_for_selector("[data-drawn]", timeout=60_000)
    page.focus("#plane")
    page.keyboard.press("Enter")
    page.wait_for_selector("#point .tile")
    first = page.locator("#point .id").inner_text()
    for key in ("+", "ArrowLeft", "-", "0", "n"):
        page.keyboard.press(key)
    until(lambda: page.locator("#point .id").inner_text() != first)
    picture = page.locator("#point img")
    until(lambda: bool(picture.evaluate("each => each.naturalWidth > 0")))

    page.select_option("#colour", "trouble")
    page.select_option("#only", label="kangaroo")  # one of those is the butterfly
    colours = page.locator("#plane").evaluate(
        "each => new Set(new Uint32Array(each.getContext('2d').getImageData("
        "0, 0, each.width, each.height).data.buffer)).size"
    )
    assert colours > 2
    page.locator("#point .tile").click()
    assert "/entry?id=" in page.url


def test_two_states_are_compared(page: Page, memory: Memory, client: Client) -> None:
    before = f"{memory.name}-before"
    client.copy(memory.name, before)
    memory.delete([f"starfish/{n}.jpg" for n in range(EACH)])
    page.goto("/compare")
    page.select_option("#first", before)
    page.select_option("#second", memory.name)
    page.set_input_files("#pictures", [photograph("starfish"), photograph("bonsai")])
    with page.expect_navigation():
        page.locator("main button.main").first.click()
    assert "agree on 1 of 2 pictures" in page.locator("main").inner_text()
    assert page.locator(".differs").count() == 1


def test_two_people_see_each_others_changes(
    page: Page, context: BrowserContext, memory: Memory
) -> None:
    other = context.new_page()
    page.goto(f"/memories/{memory.name}")
    other.goto(f"/memories/{memory.name}/entry?id={quote('bonsai/1.jpg')}")
    other.fill("input[name=label]", "tree")
    press(other, "Set")
    page.get_by_text("Somebody changed this memory").wait_for(timeout=10_000)


def test_hostile_texts_and_pictures_do_nothing(page: Page, memory: Memory, tmp_path: Path) -> None:
    """The fixture fails at a dialog, an error or a request to elsewhere."""
    id = HOSTILE[:200]
    memory.insert(
        images=[photograph("laptop")], labels=[HOSTILE], ids=[id], metadata=[{HOSTILE: HOSTILE}]
    )
    of = f"/memories/{memory.name}"
    memory.assess()
    page.goto(f"{of}/map")
    press(page, "Compute the map")
    page.wait_for_selector("[data-drawn]", timeout=60_000)
    paths = ("", f"/entry?id={quote(id)}", f"/decide?entry={quote(id)}", "/operations", "/audit")
    for path in (*paths, "/map"):
        page.goto(of + path)
        page.wait_for_load_state("networkidle")
        check(page)

    drawing = tmp_path / "drawing.svg"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(3)'/>")
    large = tmp_path / "large.jpg"
    large.write_bytes(b"\xff\xd8\xff" + b"\0" * (10 << 20))
    for picture in (drawing, large):
        page.goto(f"{of}/decide")
        with page.expect_navigation():
            page.set_input_files("#picture", picture)
        assert "picture" in page.locator("main").inner_text()


def test_pages_work_without_a_script(chromium: Browser, explorer: Explorer, memory: Memory) -> None:
    context = chromium.new_context(base_url=explorer.web, java_script_enabled=False)
    page = context.new_page()
    page.goto("/login")
    page.goto(f"/memories/{memory.name}/decide")
    page.set_input_files("#picture", photograph("starfish"))
    press(page, "ask")
    assert page.locator(".verdict .label").first.inner_text() == "starfish"
    page.goto(f"/memories/{memory.name}/map")
    assert page.get_by_role("button", name="Compute the map").is_visible()
    context.close()
