"""Write a comparison as one HTML page that needs nothing else."""

import html

from environments.comparison import Comparison
from environments.decisions import Decision
from environments.differences import FileDifference
from environments.shown import LINES_AND_TABS, shown

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1f2328; --soft: #59636e; --page: #ffffff; --panel: #f6f8fa;
  --line: #d1d9e0; --head: #0550ae;
  --minus: #82071e; --minus-back: #ffebe9; --plus: #116329; --plus-back: #dafbe1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6edf3; --soft: #9198a1; --page: #0d1117; --panel: #151b23;
    --line: #3d444d; --head: #79b8ff;
    --minus: #ffc1ba; --minus-back: #3c1618; --plus: #aff5b4; --plus-back: #12321d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 75rem; padding: 1.5rem 1rem 4rem;
  background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.75rem; }
label { display: inline-block; padding: 0.5rem 0; cursor: pointer; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; font-size: 0.9rem; }
th, td {
  padding: 0.4rem 0.6rem; border-top: 1px solid var(--line);
  text-align: left; vertical-align: top; white-space: pre-line;
}
thead th { border-top: 0; }
th:first-child { width: 24%; }
tbody th { font-weight: 600; }
tr.section th { padding-top: 1.4rem; color: var(--head); border-top: 0; }
tr.same th, tr.same td { color: var(--soft); font-weight: 400; }
td.left { background: var(--minus-back); color: var(--minus); }
td.right { background: var(--plus-back); color: var(--plus); }
#only:checked ~ table tr.same, #only:checked ~ table tr.alike { display: none; }
.note { background: var(--panel); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.1rem 1rem; }
details { border: 1px solid var(--line); border-radius: 0.4rem; margin: 0.75rem 0; overflow: hidden; }
summary { padding: 0.5rem 0.75rem; background: var(--panel); cursor: pointer; }
summary small { color: var(--soft); }
code, pre { font: 0.85rem/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre { margin: 0; padding: 0.5rem 0; overflow-x: auto; overflow-wrap: normal; }
pre span { display: block; padding: 0 0.75rem; min-width: max-content; }
.note pre { padding: 0 0 0.75rem; }
.plus { background: var(--plus-back); color: var(--plus); }
.minus { background: var(--minus-back); color: var(--minus); }
.hunk { color: var(--head); }
@media (max-width: 42rem) {
  thead { display: none; }
  table, tbody, tr, th, td { display: block; }
  th:first-child { width: auto; }
  tr { border-top: 1px solid var(--line); padding: 0.5rem 0; }
  tr.section { border-top: 0; padding: 0; }
  th, td { border: 0; padding: 0.25rem 0.5rem; }
  td::before { content: attr(data-side) ": "; font-weight: 600; }
  tr.same td.both::before { content: none; }
}
"""
KINDS = {"+++": "", "---": "", "@@": "hunk", "+": "plus", "-": "minus"}


def escape(text: str) -> str:
    """Write a text for a page, which has no place for control characters."""
    return html.escape(shown(text, LINES_AND_TABS))


def page(comparison: Comparison) -> str:
    """Return the page."""
    title = f"{comparison.left} and {comparison.right}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(comparison.summary)}</p>
{notes(comparison)}
<h2>Decisions</h2>
{decisions_of(comparison)}
<h2>Files</h2>
{"".join(file_of(each) for each in comparison.differences.files) or "<p>No file differs.</p>"}
</body>
</html>
"""


def notes(comparison: Comparison) -> str:
    """Say which files would be left behind, and which are the person's own."""
    found = comparison.differences
    text = ""
    if found.left_behind:
        text += (
            '<div class="note"><p>Rendering B over A leaves files behind. To remove:</p>'
            f"<pre><code>{escape(found.remove_command)}</code></pre></div>\n"
        )
    if found.own:
        names = escape(", ".join(shown(name) for name in found.own))
        text += f"<p>Not from the template, and left alone: {names}</p>\n"
    return text


def decisions_of(comparison: Comparison) -> str:
    """Return the table of decisions, if it has any."""
    if not comparison.decisions:
        return "<p>No decision differs.</p>"
    switch = (
        '<input type="checkbox" id="only"> <label for="only">Only what differs</label>'
    )
    return f"{switch}\n{table_of(comparison)}"


def table_of(comparison: Comparison) -> str:
    """Return the table of decisions."""
    rows = []
    for section, decisions in comparison.shown_sections.items():
        alike = " alike" if all(each.same for each in decisions) else ""
        head = f'<th colspan="3" scope="rowgroup">{escape(section)}</th>'
        rows.append(f'<tr class="section{alike}">{head}</tr>')
        rows += [row_of(each, comparison) for each in decisions]
    left, right = escape(comparison.left), escape(comparison.right)
    body = "\n".join(rows)
    return f"""<table>
<thead><tr><th scope="col">Decision</th><th scope="col">A: {left}</th><th scope="col">B: {right}</th></tr></thead>
<tbody>
{body}
</tbody>
</table>"""


def row_of(decision: Decision, comparison: Comparison) -> str:
    """Return a line of the table. What is the same stands there once."""
    name = f'<th scope="row">{escape(decision.name)}</th>'
    if decision.same:
        cells = f'<td class="both" colspan="2">{escape(decision.left)}</td>'
        return f'<tr class="same">{name}{cells}</tr>'
    left = cell("left", comparison.left, decision.left)
    right = cell("right", comparison.right, decision.right)
    return f"<tr>{name}{left}{right}</tr>"


def cell(side: str, name: str, value: str) -> str:
    """Return a cell that says, on a small screen, which side it belongs to."""
    return f'<td class="{side}" data-side="{escape(name)}">{escape(value)}</td>'


def file_of(difference: FileDifference) -> str:
    """Return the diff of a file, which can be folded away."""
    lines = "".join(line_of(line) for line in difference.lines)
    summary = f"{escape(difference.path)} <small>{difference.status}</small>"
    return f"<details open><summary>{summary}</summary><pre>{lines}</pre></details>\n"


def line_of(line: str) -> str:
    """Return a line of a diff, with its kind as its class."""
    kind = next((kind for mark, kind in KINDS.items() if line.startswith(mark)), "")
    return f'<span class="{kind}">{escape(line) or " "}</span>'
