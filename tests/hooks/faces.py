"""Both hooks behind one coroutine face."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook


class BlockingFace:
    """The blocking hook, in a thread; iterators become lists."""

    def __init__(self, hook: BuildPixelHook) -> None:
        self.hook = hook

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hook.close()

    async def call(self, method: str, *given: Any, **named: Any) -> Any:
        """Call a method of the hook."""
        return await asyncio.to_thread(self._call, method, *given, **named)

    def _call(self, method: str, *given: Any, **named: Any) -> Any:
        found = getattr(self.hook, method)(*given, **named)
        return _listed(found) if inspect.isgenerator(found) else found


def _listed(members: Iterator[Any]) -> list[Any]:
    return list(members)


class AsyncioFace:
    """The asyncio hook; iterators become lists."""

    def __init__(self, hook: BuildPixelAsyncHook) -> None:
        self.hook = hook

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hook.close()

    async def call(self, method: str, *given: Any, **named: Any) -> Any:
        """Call a method of the hook."""
        found = getattr(self.hook, method)(*given, **named)
        if inspect.isasyncgen(found):
            return [member async for member in found]
        return await found


Face = BlockingFace | AsyncioFace
