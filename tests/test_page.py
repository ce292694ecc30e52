"""`tunit serve`, driven in a real browser and by a script."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError
from untrained import untrained

from open_tunit import TUNIT
from open_tunit.web.server import KEPT_SECONDS

pytest.importorskip("gradio_client", reason="needs the extra `web`")

pytestmark = [
    pytest.mark.timeout(1200),
    # gradio's client imports parts of its libraries under names that these call old
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_SECONDS = 240
"""For a machine that is busy with other things."""
SERVE = """
import sys
from pathlib import Path
from open_tunit import TUNIT
from open_tunit.web import server
server.KEPT_SECONDS, server.DELETED_EVERY_SECONDS = int(sys.argv[3]), 1
folder, port = Path(sys.argv[1]), int(sys.argv[2])
model = TUNIT.from_pretrained(folder)
server.serve({"mine": (model, folder / "examples")}, host="127.0.0.1", port=port)
"""


DOCUMENTED = (Path(__file__).parents[1] / "docs" / "page.md").read_text(encoding="utf-8")


@dataclass
class Server:
    """A page that is being served, its model, and pictures to drop."""

    address: str
    process: subprocess.Popen[str]
    temporary: Path
    model: TUNIT
    source: Path
    reference: Path

    @property
    def expected(self) -> np.ndarray:
        return np.asarray(self.model.translate(self.source, self.reference))

    def uploads(self) -> list[Path]:
        return [path for path in self.temporary.rglob("*.png") if path.is_file()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _picture(path: Path, seed: int, size: tuple[int, int]) -> Path:
    small = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def _start(command: list[str], temporary: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    said = ""
    while not said.startswith("the page is at http://127.0.0.1:"):
        said = process.stdout.readline()
        assert said.startswith(("the page is at", "model: ")), said + process.stdout.read()
    return process


def _stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    examples = [Image.open(_picture(folder / f"e{seed}.png", seed, (40, 32))) for seed in range(4)]
    model = untrained()
    model.domain_spreads = torch.eye(8).repeat(3, 1, 1)
    model.save_pretrained(folder / "model", examples=examples)
    temporary, port = folder / "temporary", _free_port()
    temporary.mkdir()
    process = _start(["-c", SERVE, str(folder / "model"), str(port), str(KEPT_SECONDS)], temporary)
    source, reference = _picture(folder / "mine.png", 90, (60, 44)), _picture(folder / "yours.png", 91, (32, 50))
    yield Server(f"http://127.0.0.1:{port}", process, temporary, model, source, reference)
    said = _stop(process, signal.SIGTERM)
    assert process.returncode == 0, said
    assert list(temporary.iterdir()) == []


def _client(server: Server) -> Any:
    from gradio_client import Client

    return Client(server.address, verbose=False, analytics_enabled=False)


def _ask(client: Any, source: Path | str, reference: Path | str | None, *more: Any) -> np.ndarray:
    from gradio_client import handle_file

    after = handle_file(str(reference)) if reference is not None else None
    path = client.predict(handle_file(str(source)), after, *(more or (None, 1.0)), api_name="/translate")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def test_a_script_gets_the_models_translation(server: Server) -> None:
    client = _client(server)
    assert np.array_equal(_ask(client, server.source, server.reference), server.expected)
    expected = server.model.translate(server.source, domain=1, strength=0.5)
    for domain in (1, "1", "1.0", server.model.naming.names[1]):
        assert np.array_equal(_ask(client, server.source, None, domain, 0.5), np.asarray(expected))


def test_a_script_gets_all_of_the_picture_under_a_mask(server: Server, tmp_path: Path) -> None:
    from gradio_client import handle_file

    mask = Image.new("L", (60, 44))
    mask.paste(255, (0, 0, 30, 44))
    mask.save(tmp_path / "mask.png")
    asked = {"source": handle_file(str(server.source)), "mask": handle_file(str(tmp_path / "mask.png")), "domain": 1}
    path = _client(server).predict(**asked, whole=True, api_name="/translate_with_options")
    expected = server.model.translate(server.source, domain=1, whole=True, mask=mask)
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))
    path = _client(server).predict(**asked, colours="source", api_name="/translate_with_options")
    expected = server.model.translate(server.source, domain=1, colours="source", mask=mask)
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))


def test_a_script_gets_a_sampled_style(server: Server) -> None:
    from gradio_client import handle_file

    (expected,) = server.model.translate(server.source, domain=1, samples=1, seed=7, strength=0.5)
    path = _client(server).predict(handle_file(str(server.source)), 1, 7, 0.5, api_name="/sample")
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))


def _recipe(server: Server, language: str) -> str:
    """The documentation's way to call the page from a script, at this server's address."""
    (recipe,) = re.findall(rf"```{language}\n([^`]*127.0.0.1:7860[^`]*)```", DOCUMENTED)
    return str(recipe).replace("http://127.0.0.1:7860", server.address)


@pytest.fixture
def pictures_to_send(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """source.jpg and reference.jpg of the documentation, in the current folder; PNGs, which the page does not mind."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(server.source, "source.jpg")
    shutil.copy(server.reference, "reference.jpg")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.usefixtures("pictures_to_send")
def test_the_documented_shell_recipe(server: Server) -> None:
    done = subprocess.run(["sh", "-euc", _recipe(server, "sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "event: complete" in done.stdout
    (answer,) = json.loads(done.stdout.rpartition("data: ")[2])
    fetched = _fetched(answer["url"])
    assert fetched is not None
    assert np.array_equal(fetched, server.expected)


@pytest.mark.usefixtures("pictures_to_send")
def test_the_documented_python_recipe(server: Server) -> None:
    names: dict[str, Any] = {}
    exec(_recipe(server, "python"), names)
    with Image.open(names["path"]) as picture:
        expected = server.model.translate(server.source, domain=0)
        assert np.array_equal(np.asarray(picture), np.asarray(expected))


def test_without_a_model_it_serves_the_bundled_one(server: Server, tmp_path: Path) -> None:
    port = _free_port()
    process = _start(["-m", "open_tunit", "serve", "--port", str(port)], tmp_path)
    try:
        bundled = TUNIT.from_pretrained("critters")
        other = Server(f"http://127.0.0.1:{port}", process, tmp_path, bundled, server.source, server.reference)
        assert np.array_equal(_ask(_client(other), other.source, other.reference), other.expected)
        with urllib.request.urlopen(other.address) as answer:
            assert b"cat" in answer.read()
    finally:
        _stop(process, signal.SIGTERM)


def test_every_bundled_model_has_a_page(server: Server, tmp_path: Path) -> None:
    """Two models that stand in for the bundled ones: each answers as itself, and the pages lead to each other."""
    others = {"critters": untrained(), "fruits": untrained()}
    with torch.no_grad():
        others["fruits"].E.style_head.weight.neg_()
    for name, model in others.items():
        model.save_pretrained(tmp_path / "bundled" / name)
    code = (
        "import sys; from pathlib import Path; from open_tunit.model_files import places; "
        "places.BUNDLED = Path(sys.argv[1]); from open_tunit.cli.main import main; "
        "main(['serve', '--model', sys.argv[2], '--port', sys.argv[3]])"
    )
    port = _free_port()
    process = _start(["-c", code, str(tmp_path / "bundled"), "fruits", str(port)], tmp_path)
    other = Server(f"http://127.0.0.1:{port}", process, tmp_path, others["fruits"], server.source, server.reference)
    try:
        client = _client(other)
        assert np.array_equal(_ask(client, other.source, other.reference), other.expected)
        asked = [_handle(other.source), _handle(other.reference), None, 1.0]
        with Image.open(client.predict(*asked, api_name="/translate_critters")) as picture:
            expected = others["critters"].translate(other.source, other.reference)
            assert np.array_equal(np.asarray(picture), np.asarray(expected))
        with urllib.request.urlopen(f"{other.address}/critters") as answer:
            assert b"translate_critters" in answer.read()
        with urllib.request.urlopen(f"{other.address}/config") as answer:
            shown = json.load(answer)
        assert [page[1] for page in shown["pages"]][1:] == ["critters"]
        bars = [part["props"]["main_page_name"] for part in shown["components"] if part["type"] == "navbar"]
        assert bars == ["fruits", "fruits"]
    finally:
        _stop(process, signal.SIGTERM)


def _handle(path: Path) -> Any:
    from gradio_client import handle_file

    return handle_file(str(path))


def test_transparency_comes_through(server: Server, tmp_path: Path) -> None:
    with Image.open(server.source) as picture:
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(tmp_path / "glass.png")
    drawn = _ask(_client(server), tmp_path / "glass.png", server.reference)
    assert np.array_equal(drawn, np.asarray(server.model.translate(tmp_path / "glass.png", server.reference)))
    assert drawn.shape == (44, 60, 4)


def test_a_script_reads_sentences(server: Server, tmp_path: Path) -> None:
    from gradio_client.exceptions import AppError

    client = _client(server)
    (tmp_path / "broken.png").write_text("no picture")
    Image.new("1", (8000, 6000)).save(tmp_path / "vast.png")
    for values, said in (
        ((tmp_path / "broken.png", server.reference), "broken.png is not a picture, or is damaged"),
        ((tmp_path / "vast.png", server.reference), "vast.png has 8000 x 6000 pixels, more than 40 million"),
        ((server.source, None), "There is no reference"),
        ((server.source, None, 7, 1.0), "this model has domains 0 to 2"),
        ((server.source, server.reference, None, 3.0), "strength is 3.0"),
        ((server.source, None, "", 1.0), "There is no reference"),
        ((server.source, None, "lemon", 1.0), "domain is lemon; this model has domains 0 to "),
    ):
        with pytest.raises(AppError, match=said):
            _ask(client, *values)


def test_the_server_fetches_no_addresses(server: Server) -> None:
    from gradio_client.exceptions import AppError

    asked = {"path": f"{server.address}/theme.css", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError, match="addresses are not fetched"):
        _client(server).predict(asked, None, 0, 1.0, api_name="/translate")


def test_other_host_names_get_nothing(server: Server) -> None:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"))
    for path in ("/", "/gradio_api/info", "/config"):
        connection.request("GET", path, headers={"Host": "evil.example"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (421, b"This page answers to localhost only.")
    connection.close()


def test_a_page_with_a_password(server: Server, tmp_path: Path) -> None:
    port = _free_port()
    process = _start(["-m", "open_tunit", "serve", "--port", str(port), "--auth", "me:secret"], tmp_path)
    address = f"http://127.0.0.1:{port}/config"
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address)
        known = urllib.request.Request(address, headers={"Authorization": "Basic bWU6c2VjcmV0"})
        with urllib.request.urlopen(known) as answer:
            assert answer.status == 200
    finally:
        _stop(process, signal.SIGTERM)


def test_files_of_the_server_are_not_given_out(server: Server, tmp_path: Path) -> None:
    secret = _picture(tmp_path / "secret.png", 7, (20, 20))
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server.address}/gradio_api/file={secret}")
    asked = {"data": [{"path": str(secret), "meta": {"_type": "gradio.FileData"}}, None, 0, 1.0]}
    call = f"{server.address}/gradio_api/call/translate"
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(call, json.dumps(asked).encode(), headers)) as answer:
        number = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{call}/{number}") as answer:
        said = answer.read().decode()
    assert "event: error" in said
    assert "event: complete" not in said


def test_two_scripts_at_once_get_their_own(server: Server) -> None:
    pairs = [(server.source, server.reference), (server.reference, server.source)] * 3

    def ask(pair: tuple[Path, Path]) -> np.ndarray:
        return _ask(_client(server), *pair)

    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(ask, pairs))
    for picture, pair in zip(drawn, pairs, strict=True):
        assert np.array_equal(picture, np.asarray(server.model.translate(*pair)))


def test_only_translations_are_offered_to_scripts(server: Server) -> None:
    with urllib.request.urlopen(f"{server.address}/gradio_api/info") as answer:
        body = answer.read()
    assert set(json.loads(body)["named_endpoints"]) == {"/sample", "/translate", "/translate_with_options"}


def test_uploads_are_deleted_when_they_are_old(server: Server, tmp_path: Path) -> None:
    temporary, port = tmp_path / "temporary", _free_port()
    temporary.mkdir()
    model = server.model
    model.save_pretrained(tmp_path / "model")
    process = _start(["-c", SERVE, str(tmp_path / "model"), str(port), "30"], temporary)
    other = Server(f"http://127.0.0.1:{port}", process, temporary, model, server.source, server.reference)
    try:
        _ask(_client(other), other.source, other.reference)
        waited = time.monotonic()
        while other.uploads() and time.monotonic() - waited < PATIENCE_SECONDS:
            time.sleep(0.5)
        assert other.uploads() == []
    finally:
        _stop(process, signal.SIGINT)
    assert process.returncode == 0


def test_a_port_that_is_taken_or_none(server: Server, tmp_path: Path) -> None:
    server.model.save_pretrained(tmp_path / "model")
    for port in (server.address.rpartition(":")[2], "99999"):
        words = ["serve", "--model", str(tmp_path / "model"), "--port", port]
        done = subprocess.run([sys.executable, "-m", "open_tunit", *words], capture_output=True, text=True)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"tunit: cannot listen at 127.0.0.1, port {port}: ")
        assert line.endswith("; choose another --port or --host")
        assert ".;" not in line


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The opened page; afterwards, that it asked nobody else and logged no error."""
    with browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True) as context:
        view = context.new_page()
        view.set_default_timeout(PATIENCE_SECONDS * 1000)
        outside: list[str] = []
        errors: list[str] = []
        ours = (server.address, "data:", "blob:")
        view.on("request", lambda asked: None if asked.url.startswith(ours) else outside.append(asked.url))
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.goto(server.address)
        view.wait_for_selector("#result img")
        yield view
        assert outside == []
        assert errors == []


def _image(page: Any, place: str) -> str:
    return str(page.locator(f"{place} img").first.get_attribute("src"))


def _fetched(address: str) -> np.ndarray | None:
    """The picture; None where Gradio writes the same one again at this moment."""
    try:
        with urllib.request.urlopen(address) as answer, Image.open(io.BytesIO(answer.read())) as picture:
            return np.asarray(picture)
    except (http.client.IncompleteRead, UnidentifiedImageError):
        return None


def _drop(page: Any, place: str, file: Path) -> None:
    if page.locator(f"{place} img").count():
        page.locator(f"{place} button[aria-label='Clear'], {place} button[aria-label='Remove Image']").first.click()
    page.locator(f"{place} input[type=file]").first.set_input_files(str(file))


def _wait_for_picture(page: Any, server: Server, expected: np.ndarray) -> None:
    """Until the result is the expected one, to the pixel."""
    waited = time.monotonic()
    while time.monotonic() - waited < PATIENCE_SECONDS:
        shown = _fetched(_image(page, "#result")) if page.locator("#result img").count() else None
        if shown is not None and np.array_equal(shown, expected):
            return
        page.wait_for_timeout(300)
    pytest.fail("the result never was the model's translation")


@pytest.mark.browser
def test_uploads_are_translated_as_by_the_model(page: Any, server: Server) -> None:
    examples = sorted((server.temporary.parent / "model" / "examples").iterdir())
    domains = server.model.domains(examples).argmax(dim=1).tolist()
    other = next((i for i, k in enumerate(domains) if k != domains[0]), -1)
    _wait_for_picture(page, server, np.asarray(server.model.translate(examples[0], examples[other])))
    _drop(page, "#source", server.source)
    _drop(page, "#reference", server.reference)
    _wait_for_picture(page, server, server.expected)
    sure, domain = server.model.domains(server.source)[0].max(dim=0)
    page.locator("#source-about").get_by_text(f"domain {domain}, {sure:.0%}", exact=True).wait_for()
    with page.expect_download() as download:
        page.locator("#result button[aria-label='Download'], #result a[download]").first.click()
    assert download.value.suggested_filename.endswith(".png")
    with Image.open(download.value.path()) as picture:
        assert np.array_equal(np.asarray(picture), server.expected)


def _set_strength(page: Any, strength: float) -> None:
    number = page.locator("#strength input[type=number]")
    number.fill(str(strength))
    number.press("Enter")
    number.blur()


@pytest.mark.browser
def test_a_domain_of_the_gallery_and_the_strength(page: Any, server: Server) -> None:
    _drop(page, "#source", server.source)
    page.locator("#domains button.thumbnail-item, #domains .thumbnail-lg").nth(1).click()
    _wait_for_picture(page, server, np.asarray(server.model.translate(server.source, domain=1)))
    _set_strength(page, 0.5)
    _wait_for_picture(page, server, np.asarray(server.model.translate(server.source, domain=1, strength=0.5)))


@pytest.mark.browser
def test_a_sampled_style_of_the_gallery(page: Any, server: Server) -> None:
    _drop(page, "#source", server.source)
    page.locator("#domains button.thumbnail-item, #domains .thumbnail-lg").nth(1).click()
    _wait_for_picture(page, server, np.asarray(server.model.translate(server.source, domain=1)))
    for seed in (0, 1):
        page.locator("#samples").get_by_text("domain 1, 3", exact=True).wait_for()
        shown = _image(page, "#samples")
        page.locator("#samples button.thumbnail-item, #samples .thumbnail-lg").nth(2).click()
        _wait_for_picture(page, server, _sampled(server, seed))
        page.locator("#sample-others").click()
        page.wait_for_function("old => document.querySelector('#samples img').src != old", arg=shown)
    _set_strength(page, 0.5)
    _wait_for_picture(page, server, _sampled(server, seed, 0.5))
    page.locator("#domains button.thumbnail-item, #domains .thumbnail-lg").nth(1).click()
    _wait_for_picture(page, server, np.asarray(server.model.translate(server.source, domain=1, strength=0.5)))


def _sampled(server: Server, seed: int, strength: float = 1.0) -> np.ndarray:
    drawn = server.model.translate(server.source, domain=1, samples=3, seed=seed, strength=strength)
    return np.asarray(drawn[2])


def _open_more(page: Any) -> None:
    with page.expect_response(lambda answer: "/file=" in answer.url):  # the painter's copy of the source
        page.locator("#more button").first.click()
    page.locator("#mask canvas").first.wait_for()


@pytest.mark.browser
def test_a_whole_picture(page: Any, server: Server) -> None:
    _drop(page, "#source", server.source)
    _drop(page, "#reference", server.reference)
    _wait_for_picture(page, server, server.expected)
    _open_more(page)
    page.locator("#whole input").check()
    whole = server.model.translate(server.source, server.reference, whole=True)
    _wait_for_picture(page, server, np.asarray(whole))


def _paint(page: Any, down: int) -> None:
    """A stroke through the middle of the painter, or so far below it."""
    page.locator("#mask").scroll_into_view_if_needed()
    box = page.locator("#mask canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + down
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=8)
    page.mouse.up()


def _is_masked(shown: np.ndarray | None, before: np.ndarray) -> bool:
    """Whether the upper edge is the source's and something else is not."""
    if shown is None or shown.shape != before.shape:
        return False
    return np.array_equal(shown[:8], before[:8]) and not np.array_equal(shown, before)


@pytest.mark.browser
def test_a_painted_mask(page: Any, server: Server) -> None:
    """What is painted is redrawn, and all else stays the source's to the pixel, until another source comes."""
    _drop(page, "#source", server.source)
    _drop(page, "#reference", server.reference)
    _wait_for_picture(page, server, server.expected)
    _open_more(page)
    with Image.open(server.source) as picture:
        before = np.asarray(picture.convert("RGB"))
    free, waited, down = server.expected, time.monotonic(), 0
    shown: np.ndarray | None = None
    while time.monotonic() - waited < PATIENCE_SECONDS and not _is_masked(shown, before):
        _paint(page, down)  # before the painter shows its picture, which nothing tells, a stroke is lost
        down += 4
        page.wait_for_timeout(8000)
        shown = _fetched(_image(page, "#result")) if page.locator("#result img").count() else None
    assert shown is not None
    changed = (shown != before).any(axis=2)
    assert changed.mean() < 0.5
    assert (shown == free).all(axis=2)[changed].mean() > 0.3  # but for the edge of the paint
    _drop(page, "#source", server.reference)
    _wait_for_picture(page, server, np.asarray(server.model.translate(server.reference, server.reference)))


@pytest.mark.browser
def test_broken_and_oversize_files_are_answered_with_a_sentence(page: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    _drop(page, "#source", tmp_path / "broken.png")
    page.get_by_text("broken.png is not a picture, or is damaged").first.wait_for()
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "heavy.png", compress_level=0)
    assert (tmp_path / "heavy.png").stat().st_size > 20 * 2**20
    _drop(page, "#reference", tmp_path / "heavy.png")
    page.get_by_text("exceed").first.wait_for()
    assert not any(path.stat().st_size > 20 * 2**20 for path in server.uploads())
    _drop(page, "#source", server.source)
    _drop(page, "#reference", server.reference)
    _wait_for_picture(page, server, server.expected)


@pytest.mark.browser
def test_two_visitors_at_once(page: Any, browser: Any, server: Server) -> None:
    with browser.new_context() as context:
        other = context.new_page()
        other.set_default_timeout(PATIENCE_SECONDS * 1000)
        other.goto(server.address)
        other.wait_for_selector("#result img")
        for view, first, second in ((page, server.source, server.reference), (other, server.reference, server.source)):
            _drop(view, "#source", first)
            _drop(view, "#reference", second)
        _wait_for_picture(page, server, server.expected)
        _wait_for_picture(other, server, np.asarray(server.model.translate(server.reference, server.source)))


@pytest.mark.browser
def test_the_other_tabs_answer(page: Any, server: Server) -> None:
    for tab, place in (("Grid", "#grid-result"), ("In between", "#between-strip"), ("Sort", "#sort-result")):
        page.get_by_role("tab", name=tab, exact=True).first.click()
        page.wait_for_selector(f"{place} img")
    captions = page.locator("#sort-result .caption-label").all_inner_texts()
    assert len(captions) == 4
    assert all(caption.startswith("domain ") and caption.endswith("%") for caption in captions)


@pytest.mark.browser
def test_a_phone_shows_the_whole_width(browser: Any, server: Server) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True) as context:
        view = context.new_page()
        view.set_default_timeout(PATIENCE_SECONDS * 1000)
        view.goto(server.address)
        view.wait_for_selector("#result img")
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        _is_seen_whole(view, "#result img")
        more = view.locator("#more").bounding_box()
        assert more["y"] + more["height"] <= 2 * view.viewport_size["height"]  # on the second screen
        view.locator(".overflow-menu > button").first.click()
        view.locator(".overflow-dropdown button", has_text="In between").first.click()
        view.wait_for_selector("#between-here img")
        _is_seen_whole(view, "#between-here img")


def _is_seen_whole(view: Any, place: str) -> None:
    """Without scrolling."""
    box = view.locator(place).bounding_box()
    assert box["width"] > 0
    assert box["y"] + box["height"] <= view.viewport_size["height"]
