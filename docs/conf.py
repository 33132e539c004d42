"""The site of these pages, which read on GitHub as well: `make docs` builds it into docs/_build."""

import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from hfvaccine.version import VERSION

project = "hfvaccine"
version = release = VERSION
html_title = f"hfvaccine {VERSION}"
html_theme = "furo"
html_show_copyright = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
exclude_patterns = ["_build"]
root_doc = "index"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # the anchors that GitHub gives to headings
default_role = "code"  # docstrings are written with single backticks
highlight_language = "text"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
maximum_signature_line_length = 88

HERE = Path(__file__).parent
REPORTS = "creak-trial"
TO_A_PAGE = re.compile(r"^(?:\d+\.|-) .*?\[[^]]+\]\(([\w-]+)\.md\)", re.MULTILINE)


def toctree(app, page, source):
    """The order of the pages stands in one place, the lists of index.md; the sidebar is made from them."""
    if page == root_doc:
        for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
            heading, _, text = section.partition("\n")
            pages = "\n".join(TO_A_PAGE.findall(text))
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{pages}\n```\n"


def examples(app, what, name, obj, options, lines):
    """Indented examples in docstrings, which a single colon announces."""
    for number, line in enumerate(lines[:-2]):
        if line.endswith(":") and not lines[number + 1] and lines[number + 2].startswith("    "):
            lines[number] = f"{line}:"


def reports(app, doctree, page):
    """Reports are pages to open, not files to save."""
    for node in list(doctree.findall(addnodes.download_reference)):
        if node["reftarget"].startswith(REPORTS):
            target = app.builder.get_relative_uri(page, root_doc).removesuffix(f"{root_doc}.html") + node["reftarget"]
            node.replace_self(nodes.reference("", "", *node.children, refuri=target))


def copy_reports(app, error):
    if error is None and app.builder.name == "html":
        for report in (HERE / REPORTS).glob("*.html"):
            (Path(app.outdir) / REPORTS).mkdir(exist_ok=True)
            shutil.copy(report, Path(app.outdir) / REPORTS)


def setup(app):
    app.connect("source-read", toctree)
    app.connect("autodoc-process-docstring", examples, priority=400)  # before napoleon's, which comes at 500
    app.connect("doctree-resolved", reports)
    app.connect("build-finished", copy_reports)
