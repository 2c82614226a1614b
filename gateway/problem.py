"""What a client is told when a request cannot be served, in the form the OpenAI API has for it."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
SERVER_ERRORS = 500
_FIELD = re.compile(r"[a-z_]+")


class Problem(Exception):
    """status: HTTP's; param: the input that is wrong; code: for programs; headers: of the answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def __reduce__(self):
        """From one process to another; an exception goes by its message alone otherwise."""
        rest = {"param": self.param, "code": self.code, "headers": self.headers}
        return functools.partial(Problem, **rest), (self.status, self.message)

    def content(self) -> dict[str, object]:
        kind = TYPES.get(
            self.status, "server_error" if self.status >= SERVER_ERRORS else "invalid_request_error"
        )
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def refused(error: ValueError, names: Collection[str], renamed: Mapping[str, str]) -> Problem:
    """The 400 of an input that the service refuses; its name, which such a message begins with, as `param`."""
    message = " ".join(str(error).split())
    first = _FIELD.match(message)
    name = first[0] if first and first[0] in names else None
    return Problem(400, message, param=renamed.get(name, name) if name else None, code="invalid_value")
