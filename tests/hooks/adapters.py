"""Adapters that give both hooks the same asynchronous interface."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook


class BlockingHookAdapter:
    """Calls the blocking hook in a thread; iterators become lists."""

    def __init__(self, hook: BuildPixelHook) -> None:
        self.hook = hook

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hook.close()

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the hook."""
        return await asyncio.to_thread(self._call, method, *args, **kwargs)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(self.hook, method)(*args, **kwargs)
        return list(result) if inspect.isgenerator(result) else result


class AsyncHookAdapter:
    """Calls the asyncio hook; iterators become lists."""

    def __init__(self, hook: BuildPixelAsyncHook) -> None:
        self.hook = hook

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hook.close()

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the hook."""
        result = getattr(self.hook, method)(*args, **kwargs)
        if inspect.isasyncgen(result):
            return [item async for item in result]
        return await result


HookAdapter = BlockingHookAdapter | AsyncHookAdapter
