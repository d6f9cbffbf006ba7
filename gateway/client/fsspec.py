"""``forebay://bucket/key`` for everything that speaks fsspec (pandas, zarr, Hugging Face datasets …); read-only.

A shell over Reader: paths become bucket and key, our errors become the OSErrors that fsspec's users expect. Files are
read through fsspec's own block caches, every block with If-Match on the ETag seen at opening: an object replaced
meanwhile is an error (ESTALE), never mixed bytes. Listings are not cached here, the gateway answers them. Writing is
refused (EROFS): s3fs or boto3 write through the same endpoint.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gateway.client.endpoint import find_gateway
from gateway.client.errors import AccessDenied, GatewayError, ObjectChanged, ObjectNotFound, RangeOutside
from gateway.client.listing import ObjectInfo
from gateway.client.reader import Reader

if TYPE_CHECKING:

    class AbstractFileSystem:
        """What we use of fsspec's file system."""

        def __init__(self, **options: object) -> None: ...
        def exists(self, path: str) -> bool: ...  # noqa: D102  (fsspec's own)
        def _strip_protocol(self, path: str) -> str: ...

    class BufferedFile:
        """What we use of fsspec's file."""

        path: str
        fs: ForebayFileSystem
        details: dict[str, str]

        def __init__(self, *given: object, **options: object) -> None: ...
else:
    from fsspec.spec import AbstractBufferedFile as BufferedFile
    from fsspec.spec import AbstractFileSystem

GATEWAY_OPTIONS: Final = {
    "endpoint_url": "endpoint",
    "key": "access_key",
    "secret": "secret_key",
    "token": "session_token",
    "region": "region",
    "job": "job",
    "rank": "rank",
    "gpus": "gpus",
    "connections": "connections",
}
Details = dict[str, Any]
Loose = Any  # passed through, or shaped as fsspec wants it


class ForebayFileSystem(AbstractFileSystem):
    """Objects behind a gateway as files. ``storage_options``: the names of GATEWAY_OPTIONS, all optional."""

    protocol = ("forebay",)
    root_marker = ""

    def __init__(self, **options: Loose) -> None:
        known = {field: options.get(name) for name, field in GATEWAY_OPTIONS.items()}
        self.reader = Reader(find_gateway(os.environ, **known))
        super().__init__(**options)

    def ls(self, path: str, detail: bool = True, **_: Loose) -> list[Loose]:  # noqa: FBT001, FBT002  (fsspec's signature)
        """What is in a directory, or the file itself; buckets at the root. Raises FileNotFoundError."""
        bucket, key = self._split(path)
        if not bucket:
            with os_errors(path):
                found = [_directory(name) for name in self.reader.buckets()]
        else:
            found = self._listed(bucket, key)
            if not found and key:
                found = [self.info(path)]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **_: Loose) -> Details:
        """Name, size, type, ETag and LastModified; a prefix with keys under it is a directory."""
        bucket, key = self._split(path)
        name = f"{bucket}/{key}" if key else bucket
        if not bucket:
            return _directory("")
        with os_errors(path):
            try:
                return _file(bucket, self.reader.head(bucket, key)) if key else self._directory(bucket, "")
            except ObjectNotFound:
                if not key:
                    raise
            return self._directory(bucket, key, name)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002  (fsspec's signature)
        detail: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Loose,
    ) -> Loose:
        """All files under ``path``, by one flat listing where neither depth nor directories are asked for."""
        bucket, key = self._split(path)
        if maxdepth is not None or withdirs or not bucket:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)  # type: ignore[misc]  # the real class has it
        with os_errors(path):
            found = [
                _file(bucket, info)
                for page in self.reader.pages(bucket, f"{key}/" if key else "")
                for info in page.objects
                if not info.key.endswith("/")
            ]
        if not found and key and self.exists(path):
            found = [entry for entry in [self.info(path)] if entry["type"] == "file"]
        return {entry["name"]: entry for entry in found} if detail else [entry["name"] for entry in found]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Loose) -> bytes:
        """Bytes [start, end) of a file; negative ones count from its end."""
        bucket, key = self._split(path)
        with os_errors(path):
            if (start or 0) < 0 or (end or 0) < 0:
                start, end, _step = slice(start, end).indices(self.reader.head(bucket, key).size)
            try:
                return self.reader.read(bucket, key, start or 0, end)
            except RangeOutside:
                return b""

    def cat_ranges(
        self,
        paths: list[str],
        starts: Loose,
        ends: Loose,
        max_gap: int | None = None,  # noqa: ARG002  (ranges are cheap here)
        on_error: str = "return",
        **_: Loose,
    ) -> list[Loose]:
        """Many ranges, side by side. ``on_error="return"``: an error takes the place of its bytes."""
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)

        def one(wanted: tuple[str, int | None, int | None]) -> Loose:
            try:
                return self.cat_file(*wanted)
            except OSError as error:
                if on_error == "return":
                    return error
                raise

        return self.reader.each(one, list(zip(paths, starts, ends, strict=True)))

    def modified(self, path: str) -> datetime | None:
        """Last-Modified of a file."""
        when = self.info(path).get("LastModified")
        return when if isinstance(when, datetime) else None

    def _refused(self, *_: Loose, **__: Loose) -> NoReturn:
        raise OSError(errno.EROFS, "forebay:// is read-only; write through the gateway with s3fs or boto3")

    mkdir = makedirs = rmdir = rm_file = _rm = cp_file = touch = pipe_file = put_file = mv = _refused

    def _open(self, path: str, mode: str = "rb", block_size: int | str = "default", **kwargs: Loose) -> Loose:
        if mode != "rb":
            self._refused()
        return ForebayFile(self, path, mode, block_size, **kwargs)

    def _split(self, path: str) -> tuple[str, str]:
        bucket, _, key = self._strip_protocol(path).partition("/")
        return bucket, key

    def _listed(self, bucket: str, key: str) -> list[Details]:
        prefix = f"{key}/" if key else ""
        found: list[Details] = []
        with os_errors(f"{bucket}/{key}"):
            for page in self.reader.pages(bucket, prefix, delimiter="/"):
                found += [_directory(f"{bucket}/{name}") for name in page.prefixes]
                found += [_file(bucket, info) for info in page.objects if info.key != prefix]
        return found

    def _directory(self, bucket: str, key: str, name: str = "") -> Details:
        """The directory, if a listing knows it. Raises ObjectNotFound."""
        page = next(self.reader.pages(bucket, f"{key}/" if key else "", keys_max=1))
        if key and not page.objects:
            raise ObjectNotFound(f"{name}: no such file or directory", status=404, code="NoSuchKey")
        return _directory(name or bucket)


class ForebayFile(BufferedFile):
    """One open file, pinned to the version seen when it was opened."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        bucket, _, key = self.path.partition("/")
        with os_errors(self.path):
            return self.fs.reader.read(bucket, key, start, end, etag=self.details["ETag"])


@contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Turn what Reader raises into OSErrors that name ``path``."""
    try:
        yield
    except ObjectNotFound as error:
        raise FileNotFoundError(errno.ENOENT, str(error), path) from error
    except AccessDenied as error:
        raise PermissionError(errno.EACCES, str(error), path) from error
    except ObjectChanged as error:
        raise OSError(errno.ESTALE, str(error), path) from error
    except GatewayError as error:
        raise OSError(errno.EIO, str(error), path) from error


def _directory(name: str) -> Details:
    return {"name": name.rstrip("/"), "size": 0, "type": "directory"}


def _file(bucket: str, info: ObjectInfo) -> Details:
    name = f"{bucket}/{info.key}"
    return {"name": name, "size": info.size, "type": "file", "ETag": info.etag, "LastModified": _when(info.modified)}


def _when(text: str) -> datetime | None:
    """A time as a listing (ISO 8601) or a head (RFC 9110) spells it."""
    try:
        return parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
    except ValueError:
        return None
