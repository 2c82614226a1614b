"""One GET or HEAD, bounded in every way: redirects, time, rate, attempts, and who sees the token.

`requests` follows redirects and retries by its own rules; here both are done by hand, because a token
must reach no other origin, a slow drip must end, and `Retry-After` must be obeyed.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError as Urllib3Error

from fetching.manifest import Transfer
from fetching.retry import RETRIED, NotFound, Refused, Retriable, retry_later

MAX_REDIRECTS = 8
PORTS = {"http": 80, "https": 443}
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    Urllib3Error,
    OSError,
)
PROBE_PAUSE_SECONDS = 0.3


def redact(url: str) -> str:
    """A URL fit for a log: no user, password, query or fragment (signed URLs carry secrets there)."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme)


class Probe:
    """Tries to connect to the host of a URL (or to its proxy) from the moment it is made, for `seconds`.

    Name resolution has no time-out of its own, so all of it runs in a thread that may be left behind."""

    def __init__(self, url: str, seconds: float):
        proxy = select_proxy(url, get_environ_proxies(url)) or url
        _, self.host, self.port = origin(proxy if "://" in proxy else f"http://{proxy}")
        self.seconds, self.deadline = seconds, time.monotonic() + seconds
        self.reason = f"no answer from {self.host} within {seconds:g} s"
        self.connected = threading.Event()
        threading.Thread(target=self._connect, daemon=True).start()

    def problem(self) -> str | None:
        """Why no connection could be made; None as soon as one could."""
        connected = self.connected.wait(max(0.0, self.deadline - time.monotonic()))
        return None if connected else self.reason

    def _connect(self) -> None:
        while time.monotonic() < self.deadline:
            try:
                socket.create_connection((self.host, self.port), timeout=self.seconds).close()
            except OSError as e:
                self.reason = f"{self.host}: {e.strerror or e}"
                time.sleep(PROBE_PAUSE_SECONDS)  # the network may just be coming up
            else:
                self.connected.set()
                return


class Token(requests.auth.AuthBase):
    """A bearer token; given as `auth` so that a .netrc cannot take its place."""

    def __init__(self, token: str):
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@dataclass
class Body:
    """An answer whose content is still to be read. `start`: where in the file it begins; `total`: the
    file's length, None when the server does not say; `ranged`: the server obeyed the asked range."""

    response: requests.Response
    url: str
    start: int
    total: int | None
    ranged: bool
    etag: str | None
    transfer: Transfer

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_) -> None:
        self.response.close()

    def chunks(self) -> Iterator[bytes]:
        """The content as it arrives. Raises Retriable when it breaks off or drips."""
        window, received = time.monotonic(), 0
        try:
            # read1 returns what has arrived; read would wait, for as long as it takes, for a full chunk.
            while chunk := self.response.raw.read1(self.transfer.chunk_bytes, decode_content=False):
                yield chunk
                received += len(chunk)
                elapsed = time.monotonic() - window
                if elapsed >= self.transfer.stall_seconds:
                    if received < self.transfer.minimum_rate * elapsed:
                        raise Retriable(
                            f"{redact(self.url)}: only {received / elapsed:.0f} bytes/s for {elapsed:.0f} s"
                        )
                    window, received = time.monotonic(), 0
        except BROKEN as e:
            raise Retriable(f"{redact(self.url)}: connection broken: {cause(e)}") from e


def may_carry_token(url: str) -> bool:
    """Whether a secret sent to `url` is read by nobody on the way: encrypted, or not leaving this machine."""
    scheme, host, _ = origin(url)
    if scheme == "https":
        return True
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
    return loopback and not select_proxy(url, get_environ_proxies(url))


class Client:
    """Requests to one source. `token` is sent to the origin of `token_url` and nowhere else, and there only
    where nobody can read it on the way."""

    def __init__(self, transfer: Transfer, token: str | None = None, token_url: str = ""):
        self.transfer = transfer
        self.auth = Token(token) if token and may_carry_token(token_url) else None
        self.token_origin = origin(token_url)
        self.session = requests.Session()
        # Retries are ours (`retrying`), so that Retry-After and the stop signal are obeyed.
        adapter = HTTPAdapter(pool_maxsize=transfer.connections + transfer.files_at_once, max_retries=0)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)

    def get(self, url: str, start: int = 0, end: int | None = None) -> Body:
        """Bytes [start, end) of `url`; a server without ranges answers with the whole file."""
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        if start == 0 and end is None:
            headers = {}
        response, url = self._follow("GET", url, headers)
        length = number(response.headers.get("Content-Length"))
        etag = response.headers.get("ETag")
        if response.status_code != 206:
            return Body(response, url, 0, length, False, etag, self.transfer)
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != start:
            response.close()
            raise Refused(
                f"{redact(url)}: asked for bytes from {start}, got Content-Range "
                f"'{response.headers.get('Content-Range')}'"
            )
        return Body(response, url, start, int(match[3]), True, etag, self.transfer)

    def size(self, url: str) -> int | None:
        """The length of `url` by HEAD; None when the server does not tell. Raises NotFound, Refused,
        Retriable.
        """
        response, _ = self._follow("HEAD", url, {})
        response.close()
        return number(response.headers.get("Content-Length"))

    def _follow(self, method: str, url: str, headers: dict[str, str]) -> tuple[requests.Response, str]:
        for _ in range(MAX_REDIRECTS):
            response = self._request(method, url, headers)
            if not response.is_redirect:
                break
            response.close()
            target = urljoin(url, response.headers["Location"])
            if urlsplit(target).scheme not in ("https", urlsplit(url).scheme):
                raise Refused(f"{redact(url)}: redirects to {redact(target)}, which is not allowed")
            url = target
        else:
            raise Refused(f"{redact(url)}: more than {MAX_REDIRECTS} redirects")
        if response.status_code in (200, 206):
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                response.close()
                raise Refused(
                    f"{redact(url)}: came with Content-Encoding {encoding}, which was not asked for"
                )
            return response, url
        response.close()
        raise failure(response, url, self.transfer)

    def _request(self, method: str, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self.session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                allow_redirects=False,
                auth=self.auth if origin(url) == self.token_origin else None,
                timeout=(self.transfer.connect_seconds, self.transfer.stall_seconds),
            )
        except requests.exceptions.SSLError as e:
            raise Refused(f"{redact(url)}: {cause(e)}") from e
        except BROKEN as e:
            if isinstance(e, ValueError):  # requests' InvalidURL and its kin are OSErrors too
                raise Refused(f"{redact(url)}: {cause(e)}") from e
            raise Retriable(f"{redact(url)}: {cause(e)}") from e


def failure(response: requests.Response, url: str, transfer: Transfer) -> Exception:
    """The exception that stands for an answer that is neither content nor a redirect."""
    status = f"{response.status_code} {response.reason}".strip()
    message = f"{redact(url)}: HTTP {status}"
    if response.status_code in (404, 410):
        return NotFound(message)
    if response.status_code in (401, 403):
        return Refused(f"{message} (a private or gated repository needs HF_TOKEN)")
    if response.status_code in RETRIED:
        return retry_later(message, response.headers.get("Retry-After"), transfer)
    return Refused(message)


def number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def cause(error: BaseException) -> str:
    """The innermost reason of a nested connection error, in one line, without URLs."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = re.sub(r"<[^>]*>:? ?|\w+://\S+", "", str(error))
    return " ".join(text.split()) or type(error).__name__
