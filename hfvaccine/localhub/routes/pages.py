"""The one page for people: a repo's card, and how to ask for access."""

from html import escape

from starlette.responses import HTMLResponse, Response

from hfvaccine.localhub import cards
from hfvaccine.localhub.call import Call, content_routes

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap}"
    "label,input{display:block;margin:.3rem 0}"
)


def repo(call: Call) -> Response:
    """The card as plain text; it is untrusted input, so all of it is escaped."""
    found = call.repo("see")
    git = call.git(found)
    readme = git.read_file(git.resolve("main"), "README.md") or b""
    card = escape(cards.body_of(readme)) or "This repo has no card."
    gate = _form(call, found.url_path, cards.metadata_of(readme)) if found.gated else ""
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(found.id)}</title><style>{_STYLE}</style><h1>{escape(found.id)}</h1>{gate}<pre>{card}</pre>"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})


def _form(call: Call, path: str, metadata: dict[str, object]) -> str:
    prompt = metadata.get("extra_gated_prompt")
    fields = metadata.get("extra_gated_fields")
    rows = [("token", "A token of this Hub", "password")]
    if isinstance(fields, dict):
        rows += [(name, name, "checkbox" if kind == "checkbox" else "text") for name, kind in fields.items()]
    inputs = "".join(
        f'<label>{escape(label)}<input type="{kind}" name="{escape(name)}" required autocomplete="off"></label>'
        for name, label, kind in rows
    )
    target = f"/api/{call.kind}s{path.removeprefix(f'/{call.kind}s')}/ask-access"
    return (
        f"<h2>Ask for access</h2><p>The files are given out by the owner.</p><p>{escape(str(prompt or ''))}</p>"
        f'<form method="post" action="{escape(target)}">{inputs}<button>Ask for access</button></form>'
    )


ROUTES = content_routes("GET", "/{repo}", repo)
