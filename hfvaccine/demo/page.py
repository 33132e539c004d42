"""The page of a demo, with Gradio: a thin layer that shows what others say."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any

from hfvaccine import listening
from hfvaccine.demo.bars import bars
from hfvaccine.demo.questions import TACTICS, Asked, Group
from hfvaccine.demo.replies import Reply, ask
from hfvaccine.demo.subject import Subject
from hfvaccine.errors import HfvaccineError, UsageError
from hfvaccine.packages import install_extra
from hfvaccine.papers.kind import IMMUNIZED
from hfvaccine.text import clean, templates
from hfvaccine.training.options import PLAIN as PLAIN_ARM
from hfvaccine.validation.scores import BASE, PLAIN, VACCINE
from hfvaccine.validation.showing.figures import COLOURS
from hfvaccine.validation.showing.names import condition_label

REPORT = "/report"
LONGEST = 4000
"""Letters of what a visitor may ask."""


def gradio() -> Any:
    """The package, told to report to nobody.

    Raises:
        UsageError: where the extra is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise UsageError(f"A demo needs a package that is not here: {error.name}.", install_extra("demo")) from error
    return gradio


def build(subject: Subject, arms: Mapping[str, Any], place: str) -> Any:
    """The page.

    Args:
        subject: what is shown.
        arms: a scorer for each of two arms, see `subject.load`.
        place: where a system prompt stands.

    Returns:
        A `gradio.Blocks`; `look` says how it is to be shown.
    """
    gr = gradio()
    groups = {group.name: group for group in subject.groups}
    first, immunized = subject.groups[0], subject.found.kind is IMMUNIZED
    name = clean(subject.name)
    with gr.Blocks(title=f"Demo of {name}", analytics_enabled=False) as page:
        gr.HTML(top(subject), **_plain("hfv"))
        with gr.Row():
            group = gr.Dropdown([*groups], value=first.name, label="Ready questions", elem_id="group", scale=1)
            ready = gr.Dropdown(_listed(first), value=None, label="One of them", elem_id="ready", scale=3)
        note = gr.HTML(_note(first.note), **_plain("hfv"))
        question = gr.Textbox(label="Question", lines=2, max_length=LONGEST, elem_id="question")
        with gr.Accordion("Statements to judge", open=immunized), gr.Row():
            claim = gr.Textbox(label="A false statement", max_length=LONGEST, elem_id="claim", scale=3)
            truth = gr.Textbox(label="Its true twin", max_length=LONGEST, elem_id="truth", scale=3)
            ways = [("plainly", PLAIN), *((condition_label(tactic), tactic) for tactic in TACTICS)]
            tactic = gr.Dropdown(ways, value=PLAIN, label="Asked", elem_id="tactic", scale=2)
        with gr.Accordion("System prompt, before the question only", open=not immunized):
            system = gr.Textbox(show_label=False, lines=1, max_length=LONGEST, elem_id="system")
        button = gr.Button("Ask both", variant="primary", elem_id="ask")
        with gr.Row(elem_id="sides", equal_height=True):
            sides = [
                gr.HTML(_waiting(arm), elem_id=f"side-{number}", **_plain("hfv")) for number, arm in enumerate(arms)
            ]
        gr.HTML(_note(ABOUT), **_plain("hfv"))

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        group.input(
            lambda chosen: (gr.Dropdown(_listed(groups[chosen]), value=None), _note(groups[chosen].note)),
            [group],
            [ready, note],
            **quiet,
        )
        fields = [question, system, claim, truth, tactic]
        ready.input(lambda chosen, number: _filled(groups[chosen], number), [group, ready], [*fields, note], **quiet)
        gr.on(
            [button.click, question.submit],
            _asking(arms, place),
            fields,
            sides,
            api_visibility="private",
            concurrency_limit=1,
            trigger_mode="always_last",  # what is asked while both are still answering is asked after that
        )
    return page


ABOUT = (
    "Answers are greedy, and cut off after 120 tokens. Bars: how probable the words for true are against those for "
    "false, in the wordings of the validation, which were never trained on, and without a system prompt; claim and "
    "twin are read alike. A model that says FALSE to everything is right about each claim and wrong about each twin."
)


def look() -> dict[str, Any]:
    """How the page is to be shown: like a report, and with nothing fetched from elsewhere."""
    gr = gradio()
    fonts = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
    # Not as `css`, whose rules Gradio rewrites, so that those of a dark page are lost.
    return {"theme": gr.themes.Base(**fonts), "head": f"<style>{_fill('page.css')}</style>", "footer_links": []}


def top(subject: Subject) -> str:
    """What stands on top, as HTML."""
    link = subject.card or (REPORT if subject.report else None)
    arms = " beside ".join(reversed([*([BASE] if len(subject.others) == 1 else []), *subject.others]))
    return f"<h1>{_escaped(f'{subject.name}: {arms}')}</h1>" + _fill(
        "top.html",
        head=subject.head,
        link=link,
        card=subject.card,
        quarantined=bool(subject.canaries),
        canaries=subject.canaries,
        notes=subject.notes,
    )


def column(asked: Asked, reply: Reply) -> str:
    """What one side says, as HTML; nothing of what a visitor or a model writes is markup."""
    from markupsafe import Markup

    colour = COLOURS[BASE] if reply.arm in (BASE, PLAIN_ARM) else COLOURS[VACCINE]
    return _fill("column.html", asked=asked, reply=reply, colour=colour, bars=Markup(bars(reply.verdicts, colour)))


def _asking(arms: Mapping[str, Any], place: str) -> Callable[..., Iterator[tuple[str, ...]]]:
    """What is done with a visitor's fields: one side after the other is shown."""
    turn = Lock()  # the arms are one model, whose adapters are switched

    def answer(*fields: str | None) -> Iterator[tuple[str, ...]]:
        question, system, claim, truth, tactic = ((field or "").strip() for field in fields)
        asked = Asked(question, system, claim, truth, tactic or PLAIN)
        shown = [_waiting(arm, "Asked …") for arm in arms]
        if asked.nothing:
            yield tuple(_waiting(arm, "Write a question, or a statement.") for arm in arms)
            return
        yield tuple(shown)
        for number, (arm, scorer) in enumerate(arms.items()):
            try:
                with turn:
                    shown[number] = column(asked, ask(asked, arm, scorer, place))
            except HfvaccineError as error:
                shown[number] = _waiting(arm, str(error))
            yield tuple(shown)

    return answer


def _filled(group: Group, number: int | None) -> tuple[str, ...]:
    """The fields of a ready question, and what is known of it."""
    if number is None:
        return ("", "", "", "", PLAIN, _note(group.note))
    one = group.ready[number]
    asked = one.asked
    return asked.question, asked.system, asked.claim, asked.truth, asked.tactic, _note(one.note or group.note)


def _listed(group: Group) -> list[tuple[str, int]]:
    return [(clean(one.label), number) for number, one in enumerate(group.ready)]


def _waiting(arm: str, text: str = "") -> str:
    return f'<section class="side"><h3>{_escaped(arm)}</h3><p class="soft">{_escaped(text)}</p></section>'


def _note(text: str) -> str:
    return f'<p class="note">{_escaped(text)}</p>'


def _escaped(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))


def _fill(template: str, **values: Any) -> str:
    page = templates("hfvaccine.demo", beside="hfvaccine.validation.showing").get_template(template)
    return page.render(**values)


def _plain(name: str) -> dict[str, Any]:
    """Of a piece of HTML: only our own style, and no script."""
    return {"elem_classes": [name], "apply_default_css": False, "js_on_load": None}


# --- serving it on this machine


def listen(host: str, port: int, anywhere: bool = False) -> socket.socket:
    """The socket of a page that this machine alone can reach, unless `anywhere`.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        anywhere: permit an address that other machines can reach.

    Raises:
        UsageError: for such an address, and one that cannot be listened on.
    """
    return listening.listen(
        host,
        port,
        anywhere=anywhere,
        danger="the page lets in everybody",
        remedy="Use 127.0.0.1, or --allow-insecure on a network that you trust.",
        refused=UsageError,
        waiting=128,
    )


def address(taken: socket.socket) -> str:
    """Where a page is served."""
    return listening.address(*taken.getsockname()[:2])


def server(subject: Subject, page: Any, anywhere: bool = False) -> Any:
    """A `uvicorn.Server` of the page, and of the report beside it.

    Args:
        subject: what is shown.
        page: see `build`.
        anywhere: whether it may be asked for by other names than those of this machine.
    """
    import uvicorn
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse

    gr = gradio()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if not anywhere:  # a page of another site, whose name was made to lead here, reads no claims
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", "["])
    if report := subject.report:
        app.add_api_route(REPORT, lambda: FileResponse(report, media_type="text/html"), methods=["GET"])
    app = gr.mount_gradio_app(
        app, page, path="/", ssr_mode=False, enable_monitoring=False, pwa=False, max_file_size="10kb", **look()
    )
    return uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1))


def serve(serving: Any, taken: socket.socket) -> None:
    """Serve until Ctrl-C, which ends it quietly.

    Args:
        serving: see `server`.
        taken: see `listen`; closed at the end.
    """
    try:
        with contextlib.suppress(KeyboardInterrupt):
            serving.run(sockets=[taken])
    finally:
        taken.close()
