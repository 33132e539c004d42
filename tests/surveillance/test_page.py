"""The page: the status first, the charts that have something to show, and nothing fetched."""

from dataclasses import replace

import pytest
from pages import Page

from hfvaccine.surveillance.page import render
from hfvaccine.surveillance.status import status
from surveillance.drifting import day, declared, state_in


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    hostile = replace(declared(), adapter="you/a-b")
    found = status(state_in(tmp_path_factory.mktemp("state"), 20, 12, declaration=hostile), day(20))
    return render(replace(found, watched=found.watched | {"base": "<script>alert(1)</script>"}))


def test_the_status_comes_first_and_its_charts_are_drawn(html):
    page = Page(html)
    words = page.words
    assert words.index("ALARM") < words.index("Acceptance fell from 0.90") < words.index("Charts")
    assert page.tags.count("figure") == 2  # rejection and acceptance; the others have no round yet
    assert "hfvaccine monitor settle" in words and "claim12" in words


def test_it_needs_nothing_else_and_nothing_from_data_is_markup(html):
    page = Page(html)
    assert "script" not in page.tags and "link" not in page.tags
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "&lt;script&gt;" in html
