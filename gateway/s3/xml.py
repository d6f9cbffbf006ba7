"""The little XML that the gateway itself reads: the keys of a DeleteObjects body, and whether a document is an error.

Everything else passes through unparsed. What is read comes from strangers: it is capped in bytes, depth and elements, a
DTD or an entity is refused (defusedxml), and no tree is built. Namespaces are ignored, as S3 ignores them. Writing is
escaping, in :mod:`gateway.s3.errors`.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from cache.versions import ObjectRef
from gateway.s3.errors import S3Error
from gateway.s3.requests import KEY_BYTES_MAX

DELETE_BYTES_MAX: Final = 2 * 1024 * 1024
DELETE_KEYS_MAX: Final = 1000
DEPTH_MAX: Final = 8
ELEMENTS_MAX: Final = 10 * DELETE_KEYS_MAX


class _Texts:
    """A parser target: every leaf's text with the path of names that leads to it; ends of elements have None."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str | None]] = []
        self.elements = 0
        self.root = ""
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 - the parser's call
        """An element begins."""
        self._path.append(tag.rpartition("}")[2])
        self.root = self.root or self._path[0]
        self._text = []
        self.elements += 1
        if len(self._path) > DEPTH_MAX or self.elements > ELEMENTS_MAX:
            raise S3Error("MalformedXML")

    def data(self, text: str) -> None:
        """Character data."""
        self._text.append(text)

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser's call
        """An element ends."""
        path = "/".join(self._path)
        self.found.extend(((path, "".join(self._text)), (path, None)))
        self._path.pop()
        self._text = []

    def close(self) -> None:
        """The document ends."""


def _texts_of(body: bytes) -> _Texts:
    """The leaves of a document. Raises S3Error MalformedXML."""
    target = _Texts()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise S3Error("MalformedXML") from error
    return target


def parse_delete_objects(bucket: str, body: bytes) -> tuple[ObjectRef, ...]:
    """The objects that a DeleteObjects document names, in its order. Raises S3Error MalformedXML."""
    if len(body) > DELETE_BYTES_MAX:
        raise S3Error("MalformedXML", f"The document has more than {DELETE_BYTES_MAX} bytes.")
    texts = _texts_of(body)
    refs: list[ObjectRef] = []
    named: dict[str, str] = {}
    for path, text in texts.found:
        if path in {"Delete/Object/Key", "Delete/Object/VersionId"} and text is not None:
            if path in named:
                raise S3Error("MalformedXML")
            named[path] = text
        elif path == "Delete/Object" and text is None:
            refs.append(_ref_of(bucket, named))
            named = {}
    if not 1 <= len(refs) <= DELETE_KEYS_MAX or texts.root != "Delete" or named:
        raise S3Error("MalformedXML")
    return tuple(refs)


def _ref_of(bucket: str, named: dict[str, str]) -> ObjectRef:
    key = named.get("Delete/Object/Key", "")
    if not 1 <= len(key.encode()) <= KEY_BYTES_MAX:
        raise S3Error("MalformedXML")
    return ObjectRef(bucket, key, named.get("Delete/Object/VersionId", ""))


def error_code(document: bytes) -> str:
    """The ``Code`` of an S3 error document, else an empty string: CopyObject may fail with status 200 and such a body.

    Never raises; what does not parse is no error document.
    """
    try:
        texts = _texts_of(document)
    except S3Error:
        return ""
    codes = (text for path, text in texts.found if path == "Error/Code" and text)
    return next(codes, "Unknown") if texts.root == "Error" else ""
