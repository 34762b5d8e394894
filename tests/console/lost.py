"""Connections that are lost on their way."""

from collections.abc import Awaitable, Callable

from playwright.async_api import Route


def losing(method: str, count: int = 1, *, behind: bool = True) -> Callable[[Route], Awaitable[None]]:
    """Loses the first *count* answers to such requests: *behind* what they do, or before it is done."""
    lost = 0

    async def lose(route: Route) -> None:
        nonlocal lost
        if route.request.method != method or lost == count:
            await route.continue_()
            return
        lost += 1
        if behind:
            await route.fetch()
        await route.abort()

    return lose
