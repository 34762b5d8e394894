"""HTML in which text stays text: what takes text escapes it, and only `element` and `block` take HTML."""

import json
import re
from collections.abc import Iterable
from html import escape


def element(name: str, *content: str, **attributes: str) -> str:
    """An element with *content*, which is HTML already, and *attributes*, which are text."""
    written = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(content)}</{name}>"


def block(html: str) -> str:
    """Lines of code, of *html*."""
    return element("pre", element("code", html), tabindex="0")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of *rows* of HTML under *heads* of text."""
    head = "".join(element("th", escape(name), scope="col") for name in heads)
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("table", element("thead", element("tr", head)) if head else "", element("tbody", *body))


def literal(text: str) -> str:
    """*text* as code."""
    return element("code", escape(text))


def inline(text: str) -> str:
    """*text*, with what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def prose(text: str) -> str:
    """The paragraphs of *text*."""
    return "".join(element("p", inline(paragraph)) for paragraph in text.split("\n\n") if paragraph)


def marked(value: object) -> str:
    """*value* as JSON, with the names of its members marked."""
    return re.sub(r"(?m)^( *)(&quot;\w+&quot;)(?=: )", r'\1<span class="key">\2</span>', escape(laid_out(value)))


def laid_out(value: object) -> str:
    """*value* as the text of JSON in lines, each array of plain values in one."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub(r"\[\n *([^\[\]{}]+?)\n *\]", lambda array: "[" + re.sub(r"\n *", " ", array[1]) + "]", text)
