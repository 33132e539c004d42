"""Work that several processes share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Part = TypeVar("Part")
Outcome = TypeVar("Outcome")


def in_order(make: Callable[[], Callable[[Part], Outcome]], parts: Iterable[Part], workers: int) -> Iterator[Outcome]:
    """What comes of each part, in the order of the parts, of which a few are under way at once and no more.

    Args:
        make: makes what works on a part, once in each process; has to be picklable where there are several.
        parts: what is worked on; read in this process.
        workers: processes beside this one; with one, this process does the work.
    """
    if workers <= 1:
        yield from map(make(), parts)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (make,)) as pool:
        waiting: deque[Future[Outcome]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(_work, part))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_made: list[Callable[[Any], Any]] = []


def _begin(make: Callable[[], Callable[[Any], Any]]) -> None:
    _made[:] = [make()]


def _work(part: Any) -> Any:
    return _made[0](part)
