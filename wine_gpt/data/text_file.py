"""Decode a text file in the encoding that the config names, and locate the bytes that are not in it."""

import codecs
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TextIO

from wine_gpt.data.columns import Batches, RequestedColumns
from wine_gpt.errors import UserError

CHUNK = 1 << 20
# decodes UTF-8 with or without a byte order mark
UTF_8 = "utf-8-sig"


@dataclass(frozen=True)
class TextFile:
    """A text file or a member of an archive; each call of ``open`` reads it from its beginning."""

    name: str
    open: Callable[[], IO[bytes]]
    encoding: str

    def read(self, parse: Callable[[TextIO, str, RequestedColumns], Batches], columns: RequestedColumns) -> Batches:
        """Decode the text and yield the batches that ``parse`` makes of it.

        Raises:
            UserError: if the text is not in the encoding; the message has the offset of the first wrong byte.
        """
        with self.open() as binary:
            start = binary.read(4)
        marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        codec = self._codec()
        if codec == UTF_8 and 0 in start and not marked:
            # UTF-16 without a byte order mark would decode as UTF-8 up to the first character outside ASCII
            raise self._wrong_encoding(start.index(0), "utf-16-le" if start[0] else "utf-16-be")
        try:
            with io.TextIOWrapper(self.open(), encoding=codec, newline="") as text:
                yield from parse(text, self.name, columns)
        except UnicodeError:
            guess = "utf-16" if marked else "cp1252" if codec == UTF_8 else "utf-8"
            raise self._wrong_encoding(self._first_wrong_byte(codec), guess) from None

    def _codec(self) -> str:
        """Return the codec's name, for UTF-8 that of the codec that skips a byte order mark."""
        try:
            # unlike codecs.lookup, str.encode refuses codecs that are not text encodings, such as base64
            "".encode(self.encoding)
        except LookupError:
            known = "no such encoding; e.g. utf-8, cp1252, utf-16"
            raise UserError(f"config: data.encoding is {self.encoding!r}: {known}") from None
        codec = codecs.lookup(self.encoding).name
        return UTF_8 if codec == "utf-8" else codec

    def _first_wrong_byte(self, codec: str) -> int:
        decoder = codecs.getincrementaldecoder(codec)()
        read = 0
        with self.open() as binary:
            try:
                for block in itertools.chain(iter(lambda: binary.read(CHUNK), b""), [b""]):
                    read += len(block)
                    decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # error.object is the newest block, after the undecoded bytes of the block before it
                return read - len(error.object) + error.start
            except UnicodeError:
                # UTF-16 or UTF-32 without its byte order mark
                return 0
        return read

    def _wrong_encoding(self, offset: int, guess: str) -> UserError:
        named = f"name the file's encoding, e.g. --data.encoding {guess}"
        return UserError(f"{self.name}: byte {offset:,} is not {self.encoding}: {named}")
