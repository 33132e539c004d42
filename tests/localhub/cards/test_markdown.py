"""Cards as HTML: what is rendered, and that nothing hostile comes through."""

import re
import time

import pytest
from pages import Page

from hfvaccine.localhub.cards.markdown import LONGEST, MOST_TAGS, render


def locate(path, image):
    return None if image and path.startswith("hidden") else f"/repo/{path}"


def test_github_flavour():
    text = """# What it *is*

| left | right |
|:-----|------:|
| 1    | `2`   |

- [x] done
- [ ] open

~~gone~~ (see https://example.org/a_b_c), not README.md, not `https://example.org/code`

> [!NOTE]
> Look.

```python
a < b
```
"""
    shown = render(text, locate)
    assert '<h1 id="card-what-it-is">What it <em>is</em></h1>' in shown
    assert '<div class="scroll" tabindex="0"><table>' in shown and '<th align="right">right</th>' in shown
    assert '<input type="checkbox" checked="" disabled=""> done' in shown
    assert '<input type="checkbox" disabled=""> open' in shown
    assert "<s>gone</s>" in shown and shown.count("href=") == 1
    assert (
        '(see <a href="https://example.org/a_b_c" rel="nofollow noopener noreferrer">https://example.org/a_b_c</a>)'
        in shown
    )
    assert '<div class="markdown-alert markdown-alert-note">' in shown
    assert "<pre><code>a &lt; b\n</code></pre>" in shown


def test_html_that_authors_use_stays():
    shown = render(
        '<div align="center"><b>Hi</b></div>\n\n<details><summary>More</summary>\n\n*text*\n</details>', locate
    )
    assert '<div align="center"><b>Hi</b></div>' in shown
    assert "<details><summary>More</summary>" in shown and "<em>text</em>" in shown


@pytest.mark.parametrize(
    ("address", "leads"),
    [
        ("data/a%20b.txt", "/repo/data/a%20b.txt"),
        ("#What-it-is", "#card-What-it-is"),
        ("https://example.org/x?y", "https://example.org/x?y"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("//example.org/x", None),
        (r"\\example.org/x", None),
        (r"/\example.org/x", None),
        ("javascript:alert(1)", None),
        ("JaVa&Tab;ScRiPt:alert(1)", None),
        ("&#1;javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("vbscript:x", None),
        ("file:///etc/passwd", None),
        ("blob:http://x/1", None),
        ("", None),
    ],
)
def test_where_links_lead(address, leads):
    (link,) = [
        attrs.get("href") for tag, attrs in Page(render(f'<a href="{address}">x</a>', locate)).elements if tag == "a"
    ]
    assert link == leads
    # Markdown takes control characters and backslashes for a part of a relative address, and encodes them.
    for tag, attrs in Page(render(f"[x](<{address}>) <{address}>", locate)).elements:
        if tag == "a":
            assert attrs.get("href") == leads or attrs["href"].startswith("/repo/")


def test_images():
    shown = render(
        "![A plot](plot.svg) ![Far](https://example.org/x.png) ![Held](hidden.png) ![](data:image/png,x)", locate
    )
    assert [attrs for tag, attrs in Page(shown).elements if tag == "img"] == [
        {"src": "/repo/plot.svg", "alt": "A plot", "title": ""}
    ]
    assert 'href="https://example.org/x.png"' in shown and ">Far</a>" in shown
    assert "<em>[Held]</em>" in shown
    for source in ("https://example.org/x", "//example.org/x", "data:image/png;base64,x", "hidden.png", "mailto:x"):
        shown = render(f'<img src="{source}" srcset="https://example.org/2x" alt="A">', locate)
        assert [attrs for tag, attrs in Page(shown).elements if tag == "img"] == [{"alt": "A"}]


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<style>* { background: url(https://example.org) }</style>",
    "<p style='background: url(https://example.org)' class='bar' onclick=alert(1)>x",
    "<form action='/logout' method=post><button>x</button><textarea></textarea><select><option>x</select></form>",
    "<input name=csrf value=x type=text form=f>",
    "<iframe src='/login'></iframe><object data=x></object><embed src=x><frame src=x><portal src=x>",
    "<base href='//example.org'><meta http-equiv=refresh content='0;url=//example.org'><link rel=stylesheet href=x>",
    "<video src=x onerror=alert(1)><audio src=x><source src=x><track src=x>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<a title='<table onmouseover=alert(1) '>x</a><p title='</table><script>alert(1)</script>'>",
    "<!--><img src=x onerror=alert(1)>--><![CDATA[<script>alert(1)</script>]]><?php x ?>",
    '![x" onerror="alert(1)](plot.svg \'x" onload="alert(1)\')',
    "```\n</code></pre><script>alert(1)</script>\n```",
    "<a id=csrf name=csrf href=x target=_top ping=https://example.org download>x</a>",
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "<xmp><script>alert(1)</script></xmp><plaintext><script>alert(1)</script>",
    "</article></main><h1>Sign in</h1>",
]
ELEMENTS = "a p div img h1 pre code table thead tbody tr th td input em"
ATTRIBUTES = "href title id rel src alt type checked disabled align class tabindex colspan rowspan start open"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_cards(text):
    shown = render(f"before\n\n{text}\n\nafter", locate)
    for tag, attrs in Page(shown).elements:
        assert tag in ELEMENTS.split(), shown
        assert set(attrs) <= set(ATTRIBUTES.split()), shown
        assert attrs.get("class") in (None, "", "scroll") and not str(attrs.get("id", "card-")).startswith("csrf")
        assert attrs.get("type") in (None, "checkbox") and ("type" not in attrs or "disabled" in attrs)
    assert not re.search(r"<(/main|/article)", shown)


def test_a_long_card_is_shown_in_part_and_as_it_is():
    shown = render("<b>" + "x" * LONGEST, locate)
    assert shown.startswith("<pre>&lt;b&gt;xxx") and len(shown) < LONGEST + 1000
    assert "<strong>" in render("**" + "x" * 1000 + "**", locate)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "<b><i>",
        "<a><b>",
        "[",
        "![a](",
        "*a ",
        "> ",
        "- ",
        "|a",
        "`",
        "&",
        "<!--",
        "~~a~ ",
        "http://a.b/(",
        "http://a.b ",
        "http://)",
    ],
)
def test_cards_made_to_take_long(piece):
    began = time.process_time()
    shown = render(piece * (LONGEST // len(piece)), locate)
    assert time.process_time() - began < 30
    assert len(shown) < 40 * LONGEST


def test_many_tags_are_text():
    assert "&lt;b&gt;" in render("<b>" * (MOST_TAGS + 1), locate)
    assert "&lt;b&gt;" not in render("<b>" * 100, locate)
