"""What a browser complains of, and where it goes."""

from typing import Any

from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request

_REPORT = """
addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI, sourceFile}) =>
  console.error(`CSP: ${violatedDirective} ${blockedURI} ${sourceFile}`))
"""


class Complaints:
    """
    Errors in the browser's console, of scripts and of the security policy, and requests to anybody but *origins*.

    `expected` are texts whose appearance is what a test is about: a status that the browser notes as an error, say.
    """

    def __init__(self, *origins: str) -> None:
        self.origins = list(origins)
        self.expected: list[str] = []
        self._found: list[str] = []

    @property
    def found(self) -> list[str]:
        """All of them, but for what was expected."""
        return [one for one in self._found if not any(text in one for text in self.expected)]

    async def watch(self, context: BrowserContext) -> None:
        """Listen to all pages that *context* will have, from their beginning; some close at once."""
        await context.add_init_script(_REPORT)
        context.on("page", self._listen)

    def _listen(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._found.append(f"script: {error}"))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._found.append(f"{message.type}: {message.text} {message.location.get('url')}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((*(f"{origin}/" for origin in self.origins), "blob:", "data:")):
            self._found.append(f"request: {request.method} {request.url}")


def told(findings: dict[str, Any]) -> list[str]:
    """What axe found, a line for each place."""
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
        for violation in findings["violations"]
        for node in violation["nodes"]
    ]
