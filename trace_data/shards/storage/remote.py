"""Reads files of a remote folder through fsspec, with retries and clear errors.

No message and no chained exception carries the user, password or query of a URL: they are raised `from None`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

from trace_data.errors import ConfigError, ShardError
from trace_data.files import open_regular
from trace_data.os_errors import SpecialFile, in_words
from trace_data.progress import SILENT, Progress
from trace_data.shards.storage.url import joined, shown

Answer = TypeVar("Answer")

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}
"""Package to install for a protocol, if fsspec's own message is unclear."""
UNREACHABLE = {"EndpointConnectionError", "ClientConnectorError", "ConnectTimeoutError", "ConnectionTimeoutError"}
PASSING_STATUS = {408, 425, 429}
"""HTTP status codes that are retried, besides 5xx."""
CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket FSSPEC_S3_ANON=true"
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Retry and timeout policy."""

    attempts: int = 8
    """Consecutive failures after which a shard is given up; with the default delays, about a minute."""
    first_delay: float = 0.5
    """Seconds before the second attempt; doubled for each later one, minus a random part of up to half."""
    longest_delay: float = 30.0
    """Maximum delay, seconds."""
    connecting: float = 15.0
    """Connection timeout, seconds."""
    silence: float = 60.0
    """Read timeout, seconds."""
    slowest: float = 2048.0
    """Minimum bytes per second, over each `silence` seconds; a slower connection counts as broken."""

    @property
    def longest_trouble(self) -> float:
        """Seconds after which a download has either failed or progressed."""
        return self.attempts * (self.connecting + self.silence + self.longest_delay)

    def for_bytes(self, count: int) -> float:
        """Maximum seconds for receiving a number of bytes."""
        return self.connecting + self.silence + count / self.slowest

    def wait(self, failures: int) -> float:
        """Seconds before the next attempt, randomised so that readers do not retry simultaneously."""
        return random.uniform(0.5, 1.0) * min(self.longest_delay, self.first_delay * 2.0 ** (failures - 1))


class PassingError(ShardError):
    """A transient error, such as a broken connection or an overloaded server."""


class NotFoundError(ShardError):
    """The server says that it has no such file."""


class _TooMuchError(Exception):
    """An answer that is longer than what was asked for, or of unknown length, seen before it is read."""

    def __init__(self, came: str, asked: int) -> None:
        super().__init__(came)
        self.came, self.asked = came, asked


class _RefusedError(Exception):
    """An answer of another HTTP status, before it is read."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def _more_than_asked(came: str, asked: int, where: str) -> ShardError:
    what = f"{came} came where {asked:,} were asked for"
    return ShardError(what, where=where, hint="check the address, and what answers there")


class _BeyondEnd(PassingError):
    """A requested range starts beyond the end of the file."""


class RemoteFolder:
    """The files in a remote folder. Picklable; each process opens its own connections."""

    def __init__(self, url: str, *, patience: Patience | None = None, progress: Progress = SILENT) -> None:
        self._url = url
        self.where = shown(url)
        """The URL as it may be shown and stored."""
        self.patience = patience or Patience()
        self._progress = progress
        self._systems: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_systems": {}, "_progress": SILENT}

    def name(self, file: str) -> str:
        """The URL of a file, without secrets."""
        return shown(joined(self._url, file))

    def read(self, file: str, start: int | None = None, end: int | None = None, *, most: int) -> bytes:
        """Read the bytes start:end of a file in one attempt; fewer at the end of the file, and the whole file if the
        server does not support ranges. Reads at most `most` bytes from the server.

        Raises PassingError for transient errors, ShardError for permanent ones.
        """
        if start is not None and start == end:
            return b""
        streamed = STREAMED.get(self._url.partition("://")[0])
        if streamed is None:
            return self._in_slices(file, start or 0, most if end is None else end, most)
        place, patience = joined(self._url, file), self.patience

        def question(system: Any) -> bytes:
            import fsspec.asyn

            return bytes(fsspec.asyn.sync(system.loop, streamed, system, place, start, end, most, patience))

        try:
            return self._asked(file, question)
        except _BeyondEnd:
            return b""

    def _in_slices(self, file: str, start: int, end: int, most: int) -> bytes:
        """`read` for file systems that give a slice all at once: only the time of each bounds a slow server."""
        place, data, stream = joined(self._url, file), bytearray(), None
        bounded = SLICED.get(self._url.partition("://")[0])

        def slice_of(system: Any, low: int, high: int) -> bytes:
            nonlocal stream
            if limit := self._limit(system, high - low):
                if bounded is None:
                    return bytes(system.cat_file(place, start=low, end=high, **limit))
                import fsspec.asyn

                return bytes(fsspec.asyn.sync(system.loop, bounded, system, place, low, high, **limit))
            if stream is None:  # opened once: many synchronous file systems read ahead
                stream = system.open(place, "rb")
                stream.seek(low)
            return bytes(stream.read(high - low))

        for low in range(start, end, SLICE):
            high = min(low + SLICE, end)
            question, limit = partial(slice_of, low=low, high=high), self.patience.for_bytes(high - low)
            try:
                piece = self._asked(file, question, limit)
            except _BeyondEnd:
                break
            data += piece
            if len(data) > most:
                raise _more_than_asked(f"{len(piece):,} bytes", high - low, self.name(file))
            if len(piece) != high - low:  # the end of the file, or all of it from a server that knows no ranges
                break
        if stream is not None:
            self._asked(file, lambda _: stream.close(), self.patience.for_bytes(0))
        return bytes(data)

    def _limit(self, system: Any, count: int) -> dict[str, float]:
        return {"timeout": self.patience.for_bytes(count)} if getattr(system, "async_impl", False) else {}

    def size(self, file: str) -> int | None:
        """Length of a file, None if the server does not report it; in one attempt. Raises as `read` does."""
        place = joined(self._url, file)

        def question(system: Any) -> Any:
            return system.info(place, **self._limit(system, 0)).get("size")

        size = self._asked(file, question, self.patience.for_bytes(0))
        return None if size is None else int(size)

    def patiently(self, attempt: Callable[[], Answer], attempts: int | None = None) -> Answer:
        """Call `attempt()`, retrying after each PassingError with growing random delays. Finally raises ShardError."""
        failures = 0
        while True:
            try:
                return attempt()
            except PassingError as error:
                failures += 1
                self.pause(failures, error, attempts)

    def pause(self, failures: int, error: PassingError, attempts: int | None = None) -> None:
        """Wait after a number of consecutive failures, with a message from the second on. Raises ShardError at the
        limit."""
        limit = min(attempts or self.patience.attempts, self.patience.attempts)
        if failures >= limit:
            message = f"{error.message} ({failures} attempts)" if failures > 1 else error.message
            raise ShardError(message, where=error.where, hint=error.hint)
        seconds = self.patience.wait(failures)
        if failures > 1:
            self._progress.log(f"{error.where}: {error.message}; attempt {failures + 1} in {seconds:.0f} s")
        time.sleep(seconds)

    def _asked(self, file: str, question: Callable[[Any], Answer], seconds: float | None = None) -> Answer:
        """The answer to a question, within `seconds` where it does not watch the time itself."""
        try:
            if seconds is None:
                return question(self._filesystem())
            return _within(seconds + self.patience.connecting, lambda: question(self._filesystem()))
        except ConfigError:
            raise
        except _TooMuchError as error:
            failure = _more_than_asked(error.came, error.asked, self.name(file))
        except Exception as error:  # noqa: BLE001  every fsspec backend has its own exception types
            if isinstance(error, concurrent.futures.TimeoutError):
                self._systems.pop(os.getpid(), None)  # the thread that was left behind may still be using it
            failure = _explained(error, self.name(file))
        raise failure from None

    def _filesystem(self) -> Any:
        """fsspec's file system for the URL, one per process: its connections do not survive a fork."""
        process = os.getpid()
        if process not in self._systems:  # keep the parent's: deleting it would wait for dead connections
            self._systems[process] = _filesystem(self._url, self.patience)
        return self._systems[process]


class _Mounted:
    """`file://`: a folder of this machine. fsspec would take `%20` for three letters, and wait for a pipe."""

    def open(self, place: str, _: str) -> BinaryIO:
        return open_regular(_path_of(place))

    def info(self, place: str) -> dict[str, int]:
        return {"size": _path_of(place).stat().st_size}


def _within(seconds: float, work: Callable[[], Answer]) -> Answer:
    """The result of `work()`, in a thread that is left behind if it takes longer: nothing can end one that waits for
    sftp:// or hdfs://. Raises TimeoutError (concurrent.futures) then."""
    future: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  told by the waiting thread
            future.set_exception(error)

    threading.Thread(target=run, name="remote question", daemon=True).start()
    return future.result(seconds)


def _path_of(place: str) -> Path:
    """The path that a `file://` URL names; what `joined` put behind the folder is no part of the URL."""
    folder, _, name = place.replace("://localhost/", ":///", 1).partition("://")[2].rpartition("/")
    return Path(unquote(folder) + "/") / name


async def _streamed_http(
    system: Any, place: str, start: int | None, end: int | None, most: int, patience: Patience
) -> bytes:
    """Read the answer of a web server.

    A server that supports ranges sends only the range; others send the file from its start.
    """
    given = dict(system.kwargs)
    if asked := _range(start, end):
        given["headers"] = {**given.get("headers", {}), "Range": asked}
    session = await system.set_session()
    return await _of_web(session.get(system.encode_url(place), **given), place, start, end, most, patience)


async def _streamed_gs(
    system: Any, place: str, start: int | None, end: int | None, most: int, patience: Patience
) -> bytes:
    """Read the answer of Google's store, which `cat_file` would read to its end, however far that is."""
    asked = _range(start, end)
    await asyncio.wait_for(system._set_session(), patience.for_bytes(0))
    given = {"params": system._get_params({}), "headers": system._get_headers({"Range": asked} if asked else {})}
    return await _of_web(system.session.get(system.url(place), **given), place, start, end, most, patience)


async def _of_web(
    question: Any, place: str, start: int | None, end: int | None, most: int, patience: Patience
) -> bytes:
    answer = await asyncio.wait_for(question, patience.for_bytes(0))
    async with answer:
        if answer.status == 404:
            raise FileNotFoundError(place)
        answer.raise_for_status()
        limit = _limit(answer.status, start, end, most)
        return await _received(answer.content.iter_any(), limit, answer.content_length, answer.close, patience)


async def _streamed_s3(
    system: Any, place: str, start: int | None, end: int | None, most: int, patience: Patience
) -> bytes:
    """Read the answer of an object store, which `cat_file` would read to its end, however far that is."""
    bucket, key, version = system.split_path(place)
    asked = _range(start, end)
    given = {"Range": asked} if asked else {}
    given |= {"VersionId": version} if version else {}
    question = system._call_s3("get_object", Bucket=bucket, Key=key, **given)
    answer = await asyncio.wait_for(question, patience.for_bytes(0))
    body = answer["Body"]
    try:
        limit = _limit(answer["ResponseMetadata"]["HTTPStatusCode"], start, end, most)
        return await _received(body.iter_chunks(PIECE), limit, answer.get("ContentLength"), body.close, patience)
    finally:
        body.close()


STREAMED = {
    "http": _streamed_http,
    "https": _streamed_http,
    "s3": _streamed_s3,
    "s3a": _streamed_s3,
    "gs": _streamed_gs,
    "gcs": _streamed_gs,
}
"""Protocols whose answers are bounded in size and speed while they arrive."""


async def _az_slice(system: Any, place: str, low: int, high: int) -> bytes:
    """The bytes low:high of a blob. Azure's library reads and unpacks the whole of an answer before it hands anything
    over, so what an answer says of itself is looked at first, and HTTP holds it to that length."""

    def look(response: Any) -> None:
        status, headers = response.http_response.status_code, response.http_response.headers
        if status >= 400 and status != 401:  # which the library answers with credentials
            raise _RefusedError(status)
        length, packed = headers.get("Content-Length"), "Content-Encoding" in headers
        if status < 300 and (length is None or packed or int(length) > high - low):
            came = f"{int(length):,} bytes{' packed' * packed}" if length else "an answer of unknown length"
            raise _TooMuchError(came, high - low)

    container, name, version = system.split_path(place)
    async with system.service_client.get_blob_client(container=container, blob=name) as blob:
        answer = await blob.download_blob(
            offset=low, length=high - low, version_id=version, raw_response_hook=look, retry_total=0
        )
        return bytes(await answer.readall())


SLICED = dict.fromkeys(("az", "abfs", "abfss"), _az_slice)
"""Protocols whose slices are bounded in size before they are read."""
PIECE = 1 << 18
SLICE = 1 << 20
"""Bytes of one question to the others (az://, sftp://, hdfs://, …), which are bounded in time."""


def _range(start: int | None, end: int | None) -> str:
    return "" if start is None or end is None else f"bytes={start}-{end - 1}"


def _limit(status: int, start: int | None, end: int | None, most: int) -> int:
    """Bytes wanted of an answer: those of the range if it is one."""
    return end - start if status == 206 and start is not None and end is not None else most


async def _received(
    pieces: AsyncIterator[bytes], limit: int, announced: int | None, close: Callable[[], object], patience: Patience
) -> bytes:
    """The first `limit` bytes of an answer. It is closed if it is longer; raises ConnectionError if it is too slow."""
    data, began, before = bytearray(), time.monotonic(), 0
    async for piece in pieces:
        data += piece
        if len(data) >= limit and announced != limit:
            close()  # otherwise reusing the connection would wait for the rest
            break
        seconds = time.monotonic() - began
        if seconds > patience.silence:
            if len(data) - before < patience.slowest * seconds:
                raise ConnectionError(f"{(len(data) - before) / seconds:,.0f} bytes a second")
            began, before = time.monotonic(), len(data)
    return bytes(data[:limit])


def _filesystem(url: str, patience: Patience) -> Any:
    protocol = url.partition("://")[0]
    if protocol == "file":
        return _Mounted()
    import fsspec
    from fsspec.config import conf

    given = conf.get(protocol, {})  # what the user has set through FSSPEC_… or a file of fsspec's
    options: dict[str, Any] = {}
    try:
        if protocol in ("http", "https"):
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connecting, sock_read=patience.silence)
            options["client_kwargs"] = {"timeout": timeout, **given.get("client_kwargs", {})}
            options["headers"] = {"Accept-Encoding": "identity", **given.get("headers", {})}
        elif protocol in ("s3", "s3a"):
            limits = {"connect_timeout": patience.connecting, "read_timeout": patience.silence}
            options["config_kwargs"] = {**limits, "retries": {"max_attempts": 0}, **given.get("config_kwargs", {})}
        system, _ = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        raise ConfigError(
            f"{protocol}:// needs a package that is not installed",
            where=shown(url),
            hint=f"pip install {package}" if package else shown(str(error)),
        ) from None
    except ValueError as error:
        raise ConfigError(f"is no address that fsspec knows: {shown(str(error))}", where=shown(url)) from None
    if hasattr(system, "retries"):
        system.retries = 1  # attempts are counted here, not in several layers that multiply
    return system


def _explained(error: Exception, where: str) -> ShardError:
    """Translate a backend's error. S3 and HTTP put the reason into an exception, its cause, or a status."""
    chain = list(_causes(error))
    status = next((found for found in map(_status, chain) if found), None)
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    words = shown(str(error)).strip().partition("\n")[0][:200]
    again = "the same command goes on with what has been fetched"
    if names & NO_CREDENTIALS:
        return ShardError(f"there are no credentials: {words}", where=where, hint=CREDENTIALS)
    if isinstance(error, SpecialFile | IsADirectoryError):
        return ShardError(in_words(error)[0], where=where, hint="check the address")
    if isinstance(error, PermissionError) or status in (401, 403):
        return ShardError(
            f"access is refused ({status or 'no permission'})",
            where=where,
            hint="check the credentials and what they may read; S3 also answers so for a file that does not exist",
        )
    # fsspec's HTTP also says "not found" when it could not ask; then the cause is one of aiohttp's client errors
    if status in (404, 410) or (isinstance(error, FileNotFoundError) and "ClientError" not in names):
        return NotFoundError("not found", where=where, hint="check the address, and that everything was uploaded")
    if names & UNREACHABLE or any(isinstance(link, ConnectionRefusedError | socket.gaierror) for link in chain):
        number = getattr(chain[-1], "errno", None) or 0  # asyncio and the resolver put their own words beside it
        reason = os.strerror(number) if number > 0 else getattr(chain[-1], "strerror", None) or type(chain[-1]).__name__
        return PassingError(
            f"the server cannot be reached: {reason}", where=where, hint=f"check the address and the network; {again}"
        )
    if "FlexibleChecksumError" in names:  # of S3's own, where it has one for the whole range
        return PassingError(f"arrived damaged: {words}", where=where, hint=again)
    if status is None:
        return PassingError(f"the connection broke: {words or type(error).__name__}", where=where, hint=again)
    if status == 416:
        return _BeyondEnd("the file is shorter than that", where=where)
    if status in PASSING_STATUS or status >= 500:
        return PassingError(f"the server answers {status}", where=where, hint=again)
    return ShardError(f"the server answers {status}: {words}", where=where)


def _causes(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status in an exception of aiohttp, botocore or gcsfs."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:  # gcsfs has `code`, which in aiohttp's errors about a broken answer is always 400
        status = getattr(error, "code" if type(error).__name__ == "HttpError" else "status", None)
    return int(status) if isinstance(status, int | str) and str(status).isdigit() else None
