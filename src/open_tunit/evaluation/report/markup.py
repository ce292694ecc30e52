"""Pieces of the report's HTML: sections, tables, pictures inside the file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from open_tunit.media import images

SHOWN_SIDE = 96
"""A grid's small pictures are shown as wide as this many pixels, where the window has room."""
LARGEST_PNG_SIDE = 64
JPEG_QUALITY = 92
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#7a7a7a", "#5e3c99", "#b8a600",
)  # fmt: skip
"""Of domains and curves: Okabe and Ito's, which people who see few colours tell apart, and a few more."""

STYLE = """
:root{--ink:#1c2330;--soft:#5b6472;--line:#e2e5ea;--tint:#f5f6f8;--accent:#0072b2}
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;margin:0;color:var(--ink);background:#fff}
main{max-width:68rem;margin:0 auto;padding:1.6rem 1.1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.22rem;margin:2.8rem 0 .4rem;padding-top:.9rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.3rem 0 .3rem}p{margin:.3rem 0 .8rem;max-width:46rem}.soft,figcaption{color:var(--soft)}
nav{margin:1.1rem 0 0;font-size:.9rem;line-height:2}nav a{margin-right:1rem;white-space:nowrap}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1.2rem 0}
.tile{background:var(--tint);border-radius:.6rem;padding:.8rem .9rem}
.tile b{display:block;font-size:1.65rem;line-height:1.2}
.tile span{display:block;font-size:.83rem;line-height:1.35}.tile i{font-style:normal;color:var(--soft);font-size:.8rem}
table{border-collapse:collapse;width:100%;margin:.3rem 0 1rem;font-size:.94rem}
td,th{text-align:left;padding:.42rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;font-size:.85rem;color:var(--soft)}td small{display:block;color:var(--soft);line-height:1.35}
td:first-child{overflow-wrap:break-word}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.sub td:first-child{padding-left:1.6rem}
.terms td:first-child{white-space:nowrap;color:var(--soft);padding-right:1.5rem}
.terms td:last-child{width:100%;overflow-wrap:anywhere}
figure{margin:.6rem 0 1.2rem;overflow-x:auto}img,svg{max-width:100%;height:auto;display:block}
figcaption{font-size:.88rem;margin-top:.35rem}.wide img{min-width:44rem}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1rem 1.2rem}
.curves figure{margin:0}.curves figcaption{margin:0;color:var(--ink)}
.chip{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin-right:.4em}
.legend span{margin-right:1rem;white-space:nowrap}
@media(max-width:34rem){h1{font-size:1.4rem}td,th{padding:.38rem .25rem}table{font-size:.86rem}
tr.sub td:first-child{padding-left:.8rem}
.terms td{display:block;border:0}.terms td:first-child{padding-bottom:0;font-size:.8rem}
.terms tr{border-bottom:1px solid var(--line)}}
@media print{nav{display:none}h2{break-after:avoid}figure{break-inside:avoid}}
"""


def document(title: str, subtitle: str, sections: Sequence[tuple[str, str]], opening: str) -> str:
    """A whole page: a heading, `opening`, then (heading, body) sections with a list of links to them."""
    present = [(heading, body) for heading, body in sections if body]
    links = " ".join(f'<a href="#{_anchor(heading)}">{heading}</a>' for heading, _ in present)
    parts = "".join(f'<section id="{_anchor(heading)}"><h2>{heading}</h2>{body}</section>' for heading, body in present)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>{html.escape(title)}</h1>"
        f'<p class="soft">{html.escape(subtitle)}</p>{opening}<nav>{links}</nav>{parts}</main></body></html>\n'
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the first column left, the others right; a first cell that begins with … is indented."""
    top = "".join(f"<th{' class=n' if i else ''}>{html.escape(head)}</th>" for i, head in enumerate(heads))
    body = "".join(
        f"<tr{' class=sub' if row[0].startswith('…') else ''}><td>{row[0]}</td>"
        + "".join(f'<td class="n">{html.escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if any(heads) else ''}{body}</table>"


def terms(rows: Mapping[str, object]) -> str:
    """Names and what they stand for, as text of any length."""
    body = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>" for name, value in rows.items()
    )
    return f'<table class="terms">{body}</table>'


def note(text: str) -> str:
    """A paragraph of explanation."""
    return f'<p class="soft">{html.escape(text)}</p>'


def chip(number: int) -> str:
    """A dot in the colour of a domain."""
    return f'<i class="chip" style="background:{COLOURS[number % len(COLOURS)]}"></i>'


def grid_figure(caption: str, rows: Tensor) -> str:
    """Images (R, C, 3, S, S) as one picture of R rows and C columns."""
    side = rows.shape[-1]
    return picture_figure(
        caption, images.grid(rows), gain=max(1.0, SHOWN_SIDE / side), lossless=side <= LARGEST_PNG_SIDE
    )


def picture_figure(
    caption: str, picture: Image.Image, *, gain: float = 1.0, lossless: bool = False, wide: bool = False
) -> str:
    """A picture inside the file with its caption, shown `gain` times its size; a `wide` one scrolls on a phone."""
    buffer = io.BytesIO()
    kind = "png" if lossless else "jpeg"
    picture.save(buffer, format=kind, **({} if lossless else {"quality": JPEG_QUALITY}))
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    size = f'width="{picture.width * gain:.0f}" height="{picture.height * gain:.0f}"'
    source = f"data:image/{kind};base64,{data}"
    opening = '<figure class="wide">' if wide else "<figure>"
    return f'{opening}<img alt="{text}" {size} src="{source}"><figcaption>{text}</figcaption></figure>'


def _anchor(heading: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in heading.lower())
