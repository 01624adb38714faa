"""axe-core in a page: what it finds wrong for whoever cannot see, hear, point or tell colours apart."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).parent / "npm" / "node_modules" / "axe-core" / "axe.min.js"
"""Put there by `make .venv/.dev`, by the lock file beside it."""

RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
"""Tags of the rules; https://github.com/dequelabs/axe-core/blob/develop/doc/API.md#axe-core-tags."""

_RUN = """async (tags) => {
  const found = await axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  return {
    passed: found.passes.length,
    violations: found.violations.flatMap((rule) => rule.nodes.map((node) =>
      `${rule.id}: ${node.target.join(' ')}: ${node.failureSummary.replaceAll('\\n', ' ')}`)),
  };
}"""


async def violations(page):
    """Return what the rules find in the page as it stands, a line for each element.

    The source is run by the browser's own debugging interface, which the page's content policy does not bind.
    """
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(SOURCE.read_text() + "; undefined")
    found = await page.evaluate(_RUN, RULES)
    assert found["passed"] > 5, "axe looked at nothing"
    return found["violations"]
