"""Places that tenants share: however much one asks for, others find some."""

import asyncio
import gc

import pytest

from service.fairness import Places, QueuedPlaces


def test_no_more_than_are_left() -> None:
    """A tenant may take no more places than are left free, so that there is one for everybody who has none."""
    places = Places(8)
    taken = {tenant: sum(places.take(tenant) for _ in range(10)) for tenant in "abcd"}

    assert taken == {"a": 4, "b": 2, "c": 1, "d": 1}
    places.leave("a")
    assert places.taken == 7
    assert places.take("e")


def test_who_has_none_is_forgotten() -> None:
    """Nothing is kept of a tenant that has no place."""
    places = Places(2)
    assert places.take("a")
    places.leave("a")

    assert not places._taken  # noqa: SLF001 (what is kept)


async def test_in_line() -> None:
    """A tenant has its share and waits for more of it; others pass by, as long as there is a place at all."""
    places, order = QueuedPlaces(3, share=2), list[str]()

    async def work(name: str, go_on: asyncio.Event) -> None:
        async with places.place(name[0], wait_s=10):
            order.append(name)
            await go_on.wait()

    first, then = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(work(name, first)) for name in ("a1", "a2")]
    tasks += [asyncio.create_task(work(name, then)) for name in ("a3", "a4", "b1", "c1")]
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == ["a1", "a2", "b1"]

    first.set()
    then.set()
    await asyncio.gather(*tasks)
    assert sorted(order[3:]) == ["a3", "a4", "c1"]
    assert order.index("a3") < order.index("a4")


async def test_not_in_time() -> None:
    """Who gets no place in time is told so, and keeps nobody from his."""
    places = QueuedPlaces(1, share=1)
    async with places.place("a", wait_s=1):
        for tenant in "abab":
            with pytest.raises(TimeoutError):
                async with places.place(tenant, wait_s=0.01):
                    raise AssertionError

    async with places.place("b", wait_s=1):
        pass
    await asyncio.sleep(0)  # what was raised above is over then
    gc.collect()
    assert not places._own  # noqa: SLF001 (nothing is kept of a tenant that has no place)
