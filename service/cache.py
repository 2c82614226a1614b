"""What was made of a content is kept under the content's hash."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class ContentCache:
    """Values by the hash of what they were made of; the least recently used are dropped beyond `capacity`
    bytes. Values have `nbytes`, an attribute or a method."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._values: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value of `key`, made at its first use."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while self.nbytes() > self.capacity and len(self._values) > 1:
                self._values.popitem(last=False)
        return value

    def peek(self, key: str) -> Any:
        return self._values.get(key)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()

    def nbytes(self) -> int:
        return sum(
            value.nbytes() if callable(value.nbytes) else value.nbytes for value in self._values.values()
        )
