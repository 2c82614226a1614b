"""Where files come from: a mirror with the weights directory's own paths, and the hub.

The hub's library says where a file is, which commit and hash it has, and which token to use; the bytes
come by our own downloader from both kinds of source, so that one contract (hash while streaming, resume,
atomic replace, bounded waits) holds for both. The library's downloader checks sizes only, and keeps a
cache of its own beside the weights directory.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from fetching.http import Client, Probe, may_carry_token, redact
from fetching.manifest import LOCK, Entry, Transfer, WeightsError, parse_lock
from fetching.retry import RETRIED, NotFound, Refused, Retriable, retry_later, retrying
from fetching.verify import Expected

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "INDEXTTS_WEIGHTS_URL"
TRUE_VALUES = {"1", "ON", "YES", "TRUE"}  # as the hub's library reads its variables
SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


class Source(ABC):
    """A place with files. `label` names it in messages. Whether it can be reached is tried from the start,
    and waited for when it matters: a hub that is out of reach costs nothing where the mirror has it all."""

    label: str
    client: Client
    probe: Probe

    @abstractmethod
    def url(self, entry: Entry) -> str: ...

    @abstractmethod
    def announce(self, entry: Entry) -> tuple[Entry, Expected]:
        """`entry` at a fixed revision, and what the source says it is.

        Raises NotFound, Refused, Retriable."""

    def problem(self) -> str | None:
        """Why this source cannot be used now, found out in bounded time; None when it can."""
        return self.probe.problem()


class Mirror(Source):
    """An HTTP(S) server or bucket that has the files at `root` under their paths in the weights directory.

    A lock that it holds at its root says what they must be; without one only their length is known."""

    def __init__(self, root: str, transfer: Transfer):
        self.root, self.transfer = check_url(root, MIRROR_VARIABLE), transfer
        self.label = f"the mirror {redact(root)}"
        self.client = Client(transfer)
        self.probe = Probe(root, transfer.probe_seconds)

    def url(self, entry: Entry) -> str:
        return self.url_of(entry.path)

    def url_of(self, path: str) -> str:
        parts = urlsplit(self.root)  # a signed root has its signature in the query
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(path)}"))

    def announce(self, entry: Entry) -> tuple[Entry, Expected]:
        try:
            return entry, Expected(size=self.client.size(self.url(entry)), trust="its length only")
        except NotFound:
            raise
        except Refused as e:  # not every server answers HEAD; the first GET will show what is there
            logger.info("%s; its size is not known beforehand", e)
            return entry, Expected()

    def lock(self, stop: threading.Event) -> dict:
        """The models of the lock that the mirror holds, {} when it holds none."""

        def read() -> bytes:
            with self.client.get(self.url_of(LOCK.name)) as body:
                return b"".join(body.chunks())

        try:
            return parse_lock(retrying(read, self.transfer, stop), self.url_of(LOCK.name))
        except NotFound:
            return {}
        except (Refused, WeightsError) as e:
            logger.warning("no lock from %s: %s", self.label, e)
            return {}


class Hub(Source):
    """The Hugging Face hub or a server that speaks like it (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE)."""

    def __init__(self, transfer: Transfer):
        # The library would otherwise ask the hub, unbounded by us, for a list of client programs.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        # Here, because `status` and a warm start do not need it, nor its time.
        import huggingface_hub.constants
        import huggingface_hub.errors

        self.library = huggingface_hub
        endpoint = os.environ.get("HF_ENDPOINT") or huggingface_hub.constants.ENDPOINT
        self.endpoint = check_url(endpoint, "HF_ENDPOINT").rstrip("/")
        self.offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE_VALUES
        self.transfer = transfer
        self.label = f"the hub {redact(self.endpoint)}"
        self.token = None if self.offline else huggingface_hub.get_token()
        if self.token and not may_carry_token(self.endpoint):
            logger.warning(
                "%s is asked without the token, which is sent over https:// only (HF_ENDPOINT)", self.label
            )
            self.token = None
        self.client = Client(transfer, self.token, self.endpoint)
        if not self.offline:
            self.probe = Probe(self.endpoint, transfer.probe_seconds)

    def url(self, entry: Entry) -> str:
        return self.library.hf_hub_url(
            entry.repository, entry.file, revision=entry.revision, endpoint=self.endpoint
        )

    def announce(self, entry: Entry) -> tuple[Entry, Expected]:
        from httpx2 import HTTPError

        errors = self.library.errors
        try:
            metadata = self.library.get_hf_file_metadata(
                self.url(entry),
                token=self.token or False,
                timeout=self.transfer.connect_seconds,
                endpoint=self.endpoint,
            )
        except errors.HfHubHTTPError as e:
            raise hub_failure(e, self.url(entry), self.transfer) from e
        except errors.OfflineModeIsEnabled as e:
            raise Refused(f"{self.url(entry)}: HF_HUB_OFFLINE is set") from e
        except HTTPError as e:
            raise Retriable(f"{self.url(entry)}: {e or type(e).__name__}") from e
        etag = metadata.etag or ""
        expected = Expected(
            size=metadata.size,
            sha256=etag if SHA256.fullmatch(etag) else None,
            git_sha1=etag if GIT_SHA1.fullmatch(etag) else None,
            trust="the announcement of the hub",
        )
        return replace(entry, revision=metadata.commit_hash or entry.revision), expected

    def problem(self) -> str | None:
        return "HF_HUB_OFFLINE is set" if self.offline else self.probe.problem()


def check_url(url: str, variable: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        valid = False
    if not valid:
        raise WeightsError(f"{variable} is '{redact(url)}'; expected an http:// or https:// URL")
    return url


def hub_failure(error: HfHubHTTPError, url: str, transfer: Transfer) -> Exception:
    """The hub library's HTTP error in this package's terms."""
    response = error.response
    kind = type(error).__name__
    message = f"{url}: HTTP {response.status_code}"
    if kind in ("RemoteEntryNotFoundError", "RevisionNotFoundError") or response.status_code == 404:
        return NotFound(message)
    if response.status_code in (401, 403):
        return Refused(f"{message} ({kind}: a private or gated repository needs HF_TOKEN)")
    if response.status_code in RETRIED:
        return retry_later(message, response.headers.get("Retry-After"), transfer)
    return Refused(message)
