"""The documentation builds, its links lead somewhere, and its commands run, or it says why not."""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import yaml
from PIL import Image

from open_tunit import TUNIT
from open_tunit.cli.main import COMMANDS, main
from open_tunit.media.video import write_film
from open_tunit.model_files.naming import Naming
from open_tunit.settings import config as settings

pytest.importorskip("mkdocs")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Commands of results.md, ablations.md, log.md and performance.md are run by hand.
PAGES = (
    "index.md", "own-folder.md", "domains.md", "evaluation.md", "translating.md", "translating-at-scale.md",
    "scale.md", "sharing.md", "page.md", "method.md", "paper.md", "reliability.md", "faq.md",
)  # fmt: skip
TINY = (
    "--size 32 --steps 2 --set model.guiding_width=5 --set model.generator_width=4 --set discriminator.width=4 "
    "--set discriminator.max_width=8 --set training.joint_start=1 --set training.guiding_batch=8"
)
FENCE = re.compile(r"(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>sh|python|yaml)\n(?P<body>.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, with every proxy pointing at nothing."""
    out = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class _Page(HTMLParser):
    """A page's links and anchors, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {path.resolve(): _Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) >= len(PAGES)
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                loopback = parts.hostname == "127.0.0.1"  # where `tunit serve` answers
                assert parts.scheme in ("https", "data", "mailto") or loopback, f"{path}: {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].anchors if target in pages else set()
            if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in known):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Scripts, styles and pictures come with the site."""
    for path in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\" >]+)", path.read_text(encoding="utf-8"))
        loaded += re.findall(r"<link[^>]+stylesheet[^>]+href=\"?(https?:[^\" >]+)", path.read_text(encoding="utf-8"))
        assert not loaded, path


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_beside_the_site(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_command_reference_is_the_code(site: Path) -> None:
    text = _Page(site / "reference" / "commands" / "index.html").text
    for name in COMMANDS:
        assert f"tunit {name}" in text
    for words in ("--strength", "Interpolation between the source", "PLACE", "--dry-run"):
        assert words in text


def test_the_settings_reference_is_the_code(site: Path) -> None:
    text = _Page(site / "reference" / "settings" / "index.html").text
    sections = {"model.": settings.Model, "training.": settings.Training, "data.views.": settings.ViewSettings}
    for prefix, cls in sections.items():
        for field in dataclasses.fields(cls):
            assert prefix + field.name in text
    assert "Most channels of any layer of D." in text


def test_the_python_reference_is_the_code(site: Path) -> None:
    text = _Page(site / "reference" / "python" / "index.html").text
    for name in ("TUNIT.translate", "TUNIT.from_pretrained", "Config.preset", "train", "evaluate", "export_onnx"):
        assert name in text
    assert "strength: float = 1.0" in text
    assert "background: str = '#ffffff'" in text
    assert "All M x N translations of M sources and N references" in text


def test_the_figures_are_what_their_script_draws() -> None:
    script = runpy.run_path(str(DOCS / "figures.py"))
    for name, figure in script["FIGURES"].items():
        with Image.open(DOCS / "images" / name) as kept:
            difference = np.asarray(kept.convert("RGB"), dtype=int) - np.asarray(figure(), dtype=int)
        assert np.abs(difference).mean() < 0.5, name


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    body: str
    why_not: str | None

    def commands(self) -> list[str]:
        return [line.partition("#")[0].strip() for line in self.body.splitlines() if line.strip()]


def _blocks() -> Iterator[Block]:
    for name in PAGES:
        for match in FENCE.finditer((DOCS / name).read_text(encoding="utf-8")):
            yield Block(name, match["language"], match["body"], match["why"])


def test_every_fence_is_seen() -> None:
    for name in PAGES:
        text = (DOCS / name).read_text(encoding="utf-8")
        assert len(FENCE.findall(text)) * 2 == len(re.findall(r"^```", text, flags=re.MULTILINE)), name


def test_a_reason_is_given_where_a_block_is_not_run() -> None:
    for block in _blocks():
        if block.why_not is None and block.language == "sh":
            assert all(line.startswith("tunit ") for line in block.commands()), block
        for test in re.findall(r"tests/\w+\.py", block.why_not or ""):
            assert (ROOT / test).is_file(), test


def test_the_flags_of_blocks_that_are_not_run_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for block in _blocks():
        for line in block.commands() if block.why_not and block.language == "sh" else ():
            if line.startswith("tunit "):
                _, command, *words = shlex.split(line)
                with pytest.raises(SystemExit):
                    main([command, "--help"])
                known = capsys.readouterr().out
                assert all(word in known for word in words if word.startswith("--")), line


@pytest.fixture
def place(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the documentation's commands find photos/, masks/ and two pictures."""
    folder = tmp_path / "place"
    for picture in sorted(picture_folder.iterdir()):
        kind = folder / "photos" / picture.name.partition("_")[0]
        kind.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, kind)
    known = [path.relative_to(folder / "photos") for path in sorted((folder / "photos").rglob("*.png"))[::3]]
    (folder / "some.csv").write_text("file,label\n" + "".join(f"{name},{name.parent}\n" for name in known))
    jpegs = {"a.jpg": "disc_00.png", "b.jpg": "stripe_00.png", "c.jpg": "disc_01.png", "d.jpg": "stripe_01.png"}
    for name, source in jpegs.items():
        with Image.open(picture_folder / source) as picture:
            picture.convert("RGB").save(folder / name)
    for name in ("mask.png", *(f"masks/{path.relative_to(folder / 'photos')}" for path in folder.rglob("photos/*/*"))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((48, 40)).save(folder / name)
    write_film(folder / "clip.mp4", [Image.new("RGB", (48, 40), colour) for colour in ("red", "blue")], 10)
    monkeypatch.chdir(folder)
    return folder


def test_the_commands_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_tunit.networks.backbone.is_installed", lambda: False)  # README's line runs with it
    lines = [line for block in _blocks() if block.language == "sh" and not block.why_not for line in block.commands()]
    ran = set()
    training = [line for line in dict.fromkeys(lines) if line.startswith("tunit train")]
    for line in training:
        assert main([*_without(shlex.split(line)[1:], "--size", "--minutes"), *TINY.split()]) == 0, line
    _fill_domains(Path("runs/photos/model"))
    for line in [line for line in dict.fromkeys(lines) if line not in training]:
        words = shlex.split(line)[1:]
        if words[0] == "translate":
            words.append("--overwrite")
        assert main(words) == 0, line
        ran.add(words[0])
    assert ran >= {"translate", "interpolate", "domains", "info", "evaluate", "critters"}
    for block in _blocks():
        if block.language == "python" and not block.why_not:
            exec(compile(block.body, block.page, "exec"), {})
    assert (place / "half-way.png").is_file()


def test_the_names_of_domains_are_as_documented() -> None:
    (block,) = [block for block in _blocks() if block.language == "yaml" and not block.why_not]
    naming = Naming.of(yaml.safe_load(block.body), 6)
    assert (naming.number("tabby"), naming.number("siamese"), naming.number(5)) == (0, 2, 2)


def _fill_domains(folder: Path) -> None:
    """Two steps of training may leave domains empty; commands that want several find them."""
    model = TUNIT.from_pretrained(folder)
    model.domain_counts.fill_(1)
    model.save_pretrained(folder)


def _without(words: list[str], *flags: str) -> list[str]:
    kept: list[Any] = list(words)
    for flag in flags:
        if flag in kept:
            del kept[kept.index(flag) : kept.index(flag) + 2]
    return kept
