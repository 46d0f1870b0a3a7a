"""The contrast of the texts of a page."""

from __future__ import annotations

from playwright.sync_api import Page

_TOO_FAINT = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92
    : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = element => !element.parentElement || parts(getComputedStyle(element).backgroundColor)[3] !== 0
    ? element : ground(element.parentElement);
  const contrast = element => {
    const a = light(parts(getComputedStyle(element).color));
    const b = light(parts(getComputedStyle(ground(element)).backgroundColor));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const texts = [...document.querySelectorAll("body *")].filter(element => element.checkVisibility()
    && [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  if (texts.length < 20) return ["too few texts"];
  return texts.filter(element => contrast(element) < 4.5).map(element => element.outerHTML.slice(0, 100));
}"""


def too_faint(page: Page) -> list[str]:
    """Return the texts whose contrast with their background is less than 4.5, by the formula of WCAG."""
    return list(page.evaluate(_TOO_FAINT))
