"""Cards as HTML. A card is anybody's text: what comes out here cannot run, send or fetch anything."""

import re
from collections.abc import Callable
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

LONGEST = 128 * 1024
# Sanitizing takes the square of the number of raw tags that stand in each other.
MOST_TAGS = 5000

_TAGS = (
    "a abbr b bdi blockquote br caption center cite code dd del details dfn div dl dt em figcaption figure h1 h2 h3 h4"
    " h5 h6 hr i img input ins kbd li mark ol p pre q rp rt ruby s samp small span strong sub summary sup table tbody"
    " td tfoot th thead tr u ul var wbr"
)
_REMOVED_WITH_CONTENT = {"script", "style", "title", "template", "noscript", "textarea", "select"}
_ALIGN = {"align": {"left", "center", "right"}}
_CHOICES = {
    **dict.fromkeys(("td", "th", "p", "img", "h1", "h2", "h3", "tr", "table"), _ALIGN),
    "div": {**_ALIGN, "tabindex": {"0"}},
    "input": {"type": {"checkbox"}},
}
_ATTRIBUTES = {
    "*": {"title", "dir", "lang", "id"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "input": {"checked"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "ol": {"start"},
    "details": {"open"},
}
_ALERTS = {"note", "tip", "important", "warning", "caution"}
_CLASSES = {
    "div": {"scroll", "markdown-alert"} | {f"markdown-alert-{one}" for one in _ALERTS},
    "p": {"markdown-alert-title"},
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SCHEMES = {"http", "https", "mailto"}
_ADDRESS = re.compile(r"(https?://[^\s<>]+)")

Locate = Callable[[str, bool], str | None]


class _Renderer(RendererHTML):
    def table_open(self, *_: Any) -> str:
        return '<div class="scroll" tabindex="0"><table>'

    def table_close(self, *_: Any) -> str:
        return "</table></div>"

    def image(self, tokens: Any, index: int, options: Any, env: Any) -> str:
        token: Token = tokens[index]
        source = str(token.attrGet("src") or "")
        alt = self.renderInlineAsText(token.children, options, env) or source.rpartition("/")[2]
        if _place(source, True, env["locate"]):
            title = escape(str(token.attrGet("title") or ""))
            return f'<img src="{escape(source)}" alt="{escape(alt)}" title="{title}">'
        if _place(source, False, env["locate"]) and _SCHEME.match(source):
            return f'<a href="{escape(source)}">{escape(alt)}</a>'
        return f"<em>[{escape(alt)}]</em>"


def render(text: str, locate: Locate) -> str:
    """A card's text as HTML for a page.

    Args:
        text: GitHub-flavoured Markdown, with HTML in it where its author likes.
        locate: the address of something in the repo, given its path and whether an image is wanted; None where
            the reader must not have it.

    Returns:
        HTML of a strict list of elements: no script, style, form, frame or embedded object, no image from
        elsewhere, and no link but to the web, to a mail address or into this Hub. A text that is too long
        comes as it is, its beginning only.
    """
    if len(text) > LONGEST:
        return f"<pre>{escape(text[:LONGEST])}</pre><p>This card is too long to be shown whole.</p>"
    options = {"html": text.count("<") <= MOST_TAGS, "linkify": False}
    parser = MarkdownIt("gfm-like2", options, renderer_cls=_Renderer)
    env = {"locate": locate}
    tokens = parser.parse(text, env)
    for index, token in enumerate(tokens):
        if token.type == "inline":
            token.children = _linked(token.children or [])
        if token.type == "heading_open":
            token.attrSet("id", _slug(tokens[index + 1].content))
        # Pages allow no style attributes.
        if token.type in ("th_open", "td_open") and (style := token.attrs.pop("style", None)):
            token.attrSet("align", str(style).removeprefix("text-align:"))

    def filtered(tag: str, name: str, value: str) -> str | None:
        if name in ("href", "src"):
            return _place(value, name == "src", locate)
        return value

    return nh3.clean(
        parser.renderer.render(tokens, parser.options, env),
        tags=set(_TAGS.split()),
        clean_content_tags=_REMOVED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        tag_attribute_values=_CHOICES,
        set_tag_attribute_values={"input": {"type": "checkbox", "disabled": ""}},
        attribute_filter=filtered,
        allowed_classes=_CLASSES,
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer",
        id_prefix="card-",
    )


def _place(value: str, image: bool, locate: Locate) -> str | None:
    """Where a link or image of a card leads, or None when it must not lead anywhere."""
    # Browsers drop these characters from addresses and take a backslash for a slash.
    value = re.sub(r"[\x00-\x20\x7f]", "", value).replace("\\", "/")
    if scheme := _SCHEME.match(value):
        return None if image or scheme[1].lower() not in _SCHEMES else value
    if value.startswith("#"):
        return None if image else "#card-" + value[1:]
    return None if value.startswith("//") or not value else locate(value, image)


def _linked(tokens: list[Token]) -> list[Token]:
    """Makes links of bare web addresses. linkify-it takes README.md for one, and minutes for a hostile text."""
    linked: list[Token] = []
    inside = 0
    for token in tokens:
        # Links that are written in HTML close in a token of their own as well.
        inside += (token.type == "link_open" or token.content.startswith("<a")) - (
            token.type == "link_close" or token.content.startswith("</a")
        )
        if token.type != "text" or inside:
            linked.append(token)
            continue
        for part in _ADDRESS.split(token.content):
            address = part.rstrip(".,:;!?'\"*_~")
            address = address if "(" in address else address.rstrip(")")
            if _ADDRESS.fullmatch(address):
                linked += [Token("link_open", "a", 1, attrs={"href": address}), _text(address)]
                linked += [Token("link_close", "a", -1), _text(part[len(address) :])]
            else:
                linked.append(_text(part))
    return linked


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _slug(text: str) -> str:
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", text.lower()).strip())[:100]
