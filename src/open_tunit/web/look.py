"""Colours, fonts (the system's own) and spacing of the page."""

from __future__ import annotations

import gradio as gr

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="stone", radius_size="lg", font=FONT, font_mono=["ui-monospace", "monospace"]
)
CSS = """
.gradio-container { max-width: 1120px !important; width: 100% !important; margin: 0 auto !important; }
.gradio-container > main { width: 100% !important; }
header h1 { font-size: 1.7rem; margin: 0.6rem 0 0.2rem; letter-spacing: -0.01em; }
header p { max-width: 46rem; margin: 0; opacity: 0.75; }
.cards .image-frame, .cards .image-container, .strip .image-container { width: 100%; }
.cards .image-container img { width: 100%; height: 100%; object-fit: contain; }
.cards .image-container img { padding-top: 30px; }
.strip .image-container img { padding: 36px 8px 8px; }
.about { padding: 0 0.25rem; min-height: 1.5rem; opacity: 0.75; }
.gallery-container, .grid-wrap { height: auto !important; min-height: 0 !important; max-height: none !important; }
.examples .grid-container { grid-template-columns: repeat(8, minmax(0, 1fr)) !important; gap: 4px; }
.examples .thumbnail-item { aspect-ratio: 1; height: auto; min-height: 0; border-radius: 6px; }
.uploads .grid-wrap, #domains .grid-wrap, #samples .grid-wrap, #sort-result .grid-wrap { padding-top: 40px; }
.sheet .image-container { padding: 40px 8px 8px; }
.sheet .image-container img { width: min(40rem, 80vw) !important; height: auto; margin: 0 auto; }
.strip .image-container img { width: min(60rem, 80vw) !important; height: auto; }
.sheet img, .strip img { object-fit: contain !important; }
.grid-container { grid-template-rows: none !important; grid-auto-rows: auto !important; }
.uploads .grid-container { grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)) !important; }
.uploads .thumbnail-item, #sort-result .thumbnail-item { aspect-ratio: 1; height: auto; min-height: 0; }
.caption-label { max-width: 100% !important; white-space: nowrap; }
#domains .grid-container, #samples .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)) !important;
}
#domains .thumbnail-item { aspect-ratio: 3 / 4; }
#samples .thumbnail-item { aspect-ratio: 1; }
#domains .caption-label { top: 4px; bottom: auto; }
#sort-result .grid-container { grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) !important; }
@media (max-width: 640px) { /* what is given side by side, so that the translation is on the first screen */
  header h1 { font-size: 1.3rem; margin: 0; }
  header p { font-size: 0.85rem; line-height: 1.35; }
  .cards { display: grid !important; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px !important; }
  .cards > .column { min-width: 0 !important; gap: 8px !important; }
  .cards > .column:last-child:nth-child(odd) { grid-column: 1 / -1; }
  #source, #reference, #between-source, #between-start, #between-end, #between-here { height: 180px !important; }
  #result { height: 240px !important; }
  .cards label.float { max-width: 78%; font-size: 0.68rem; line-height: 1.2; white-space: normal; }
  .cards label.float span, .cards button[aria-label="Fullscreen"] { display: none; }
  .cards .column:not(:last-child) .image-container img { padding-top: 40px; }
  .cards .about { min-height: 0; font-size: 0.85rem; }
  .examples .grid-container { grid-template-columns: repeat(5, minmax(0, 1fr)) !important; }
}
"""
