"""HTML pages as tests read them."""

from html.parser import HTMLParser

VOID = ("meta", "link", "br", "hr", "img", "input")


class Page(HTMLParser):
    """A page's elements and text. All is closed where it was opened, and nothing acts by itself."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.marked, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        assert not any(name.startswith("on") for name in self.attributes)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("class")))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if any(tag == "style" for tag, _ in self.open):
            return
        self.text.append(data)
        if ("p", "falsehood") in self.open:
            self.marked.append(data)

    @property
    def tags(self):
        return [tag for tag, _ in self.elements]

    @property
    def attributes(self):
        return [name for _, attributes in self.elements for name in attributes]

    @property
    def links(self):
        """What the page leads to or loads."""
        return self.values("src", "href", "xlink:href", "srcset")

    def values(self, *names):
        """The values of attributes, wherever they stand."""
        return {value for _, own in self.elements for name, value in own.items() if name in names}

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())
