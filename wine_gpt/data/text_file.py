"""Decode a text file in the encoding that the config names, and say which encoding it has if that one is wrong."""

import codecs
import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TextIO

from charset_normalizer import from_bytes

from wine_gpt.data.columns import Batches, RequestedColumns
from wine_gpt.data.mojibake import AFTER_LATIN, warn_of_mojibake
from wine_gpt.errors import UserError

CHUNK = 1 << 20
# decodes UTF-8 with or without a byte order mark
UTF_8 = "utf-8-sig"
# encodings by their byte order marks; the mark of UTF-32 begins with that of UTF-16
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# encodings of Latin letters, the most common one first; between some of them only a reader can decide
LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp850", "cp852", "mac_roman")
# encodings of other scripts with one byte per character
OTHERS = ("cp1251", "koi8_u", "koi8_r", "cp866", "mac_cyrillic", "cp1253", "cp1255", "cp1256", "cp874")
# encodings of two bytes per character: the letters of the script, and their least fraction of the characters outside
# ASCII; only letters beside another one count, because Western text that is decoded wrongly has single ones
WIDE = {
    "cp932": ("\u3041-\u3096\u30a1-\u30fa", 0.3),
    "euc_jp": ("\u3041-\u3096\u30a1-\u30fa", 0.3),
    "cp949": ("\uac00-\ud7a3", 0.85),
    "gb18030": ("\u4e00-\u9fff", 0.7),
    "big5": ("\u4e00-\u9fff", 0.7),
}
# characters that are no letters and may follow one
TYPOGRAPHIC = "’‘“”…–—°®™»"
SHOWN_ENCODINGS = 4
# letters of a word in which a reader sees the right encoding
SHORTEST_WORD = 4
# a word with a byte outside ASCII, in an encoding of any script
WORD = re.compile(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*")
NON_ASCII = re.compile(r"[^\x00-\x7f]")
# the repair of UTF-16 surrogates that were written in UTF-8, each by itself
PAIR_SURROGATES = ".decode('utf-8', 'surrogatepass').encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
# the NUL of Java's modified UTF-8, and the name of the error handler that decodes it
MODIFIED_NUL = b"\xc0\x80"
MODIFIED_UTF_8 = "wine_gpt.modified_utf_8"
# how Python's error handler surrogateescape decodes a wrong byte
ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Utf8Check:
    """How much of a file is UTF-8.

    Attributes:
        characters: characters outside ASCII.
        wrong: bytes that are not UTF-8.
        line: the line of the first wrong byte.
    """

    characters: int
    wrong: int
    line: int


@dataclass(frozen=True)
class TextFile:
    """A text file or a member of an archive; each call of ``open`` reads it from its beginning."""

    name: str
    open: Callable[[], IO[bytes]]
    encoding: str

    def read(self, parse: Callable[[TextIO, str, RequestedColumns], Batches], columns: RequestedColumns) -> Batches:
        """Decode the text and yield the batches that ``parse`` makes of it; warn of wrong characters.

        Raises:
            UserError: if the text is not in the encoding; the message has the offset of the first wrong byte.
        """
        codec = self._codec()
        try:
            with io.TextIOWrapper(self.open(), encoding=codec, newline="") as text:
                yield from warn_of_mojibake(parse(text, self.name, columns), self.name, codec)
        except UnicodeError:
            raise self._wrong_encoding(codec) from None

    def _codec(self) -> str:
        """Return the codec's name, for Unicode that of the codec that skips a byte order mark."""
        try:
            # unlike codecs.lookup, str.encode refuses codecs that are not text encodings, such as base64
            "".encode(self.encoding)
        except (LookupError, UnicodeError):
            known = "no such encoding; e.g. utf-8, cp1252, utf-16"
            raise UserError(f"config: data.encoding is {self.encoding!r}: {known}") from None
        codec = codecs.lookup(self.encoding).name
        with self.open() as binary:
            start = binary.read(4)
        marked = next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), "")
        if marked and not codec.startswith(marked):
            raise self._another_encoding(0, marked)
        if 0 in start and not marked and not codec.startswith(("utf-16", "utf-32")):
            # would decode as UTF-8 up to the first character outside ASCII
            raise self._another_encoding(start.index(0), _unmarked_unicode(start))
        return UTF_8 if codec == "utf-8" else marked or codec

    def _wrong_encoding(self, codec: str) -> UserError:
        """Return the error for a file that can't be decoded, with an encoding in which the file can be read."""
        offset, reason = self._first_error(codec) or (0, "")
        if codec == UTF_8:
            for errors, what, change in (
                ("surrogatepass", "a surrogate, as in CESU-8", ""),
                (MODIFIED_UTF_8, "modified UTF-8, as Java writes it", f".replace({MODIFIED_NUL!r}, b'')"),
            ):
                if self._first_error(UTF_8, errors) is None:
                    repair = f"correct the file: data{change}{PAIR_SURROGATES}"
                    return UserError(f"{self.name}: byte {offset:,} is not utf-8 but {what}: {repair}")
        check = self._utf_8_check()
        if check.wrong and check.characters > check.wrong:
            cut = codec == UTF_8 and reason == "unexpected end of data"
            advice = "the file is cut short" if cut else "correct it in a text editor"
            if codec != UTF_8:
                offset, _ = self._first_error(UTF_8) or (0, "")
                advice += " and leave data.encoding out"
            count = "1 byte, in" if check.wrong == 1 else f"{check.wrong:,} bytes, the first in"
            location = f"line {check.line:,}: byte {offset:,} is not utf-8"
            return UserError(f"{self.name}: is UTF-8 but for {count} {location}: {advice}")
        if reason == "truncated data":
            return UserError(f"{self.name}: byte {offset:,} is not {self.encoding}: the file is cut short")
        line = check.line if codec == UTF_8 else 0
        return self._another_encoding(offset, self._guess(codec) if check.wrong else "utf-8", line)

    def _another_encoding(self, offset: int, guess: str, line: int = 0) -> UserError:
        location = f" (line {line:,})" if line else ""
        named = f"name the file's encoding, e.g. --data.encoding {guess}"
        return UserError(f"{self.name}: byte {offset:,} is not {self.encoding}{location}: {named}")

    def _guess(self, refused: str) -> str:
        """Return an encoding in which the file can be read and how it reads a word, and how others read the word."""
        with self.open() as binary:
            start = binary.read(4)
        if 0 in start:
            return _unmarked_unicode(start)
        # the first megabytes may be ASCII
        sample = next(block for block in self._blocks() if not block.isascii())
        lines = [line for line in sample.splitlines(keepends=True) if not line.isascii()]
        # the last line may end within a character
        foreign = b"".join(lines[:-1] or lines)
        likely = [name for name in _rank(foreign) if name != refused and not self._first_error(name)]
        # Latin-1 has a character for each byte
        return _compare(likely, foreign) if likely else "latin-1"

    def _blocks(self) -> Iterator[bytes]:
        """Yield the file's blocks and an empty one."""
        with self.open() as binary:
            yield from itertools.chain(iter(lambda: binary.read(CHUNK), b""), [b""])

    def _first_error(self, codec: str, errors: str = "strict") -> tuple[int, str] | None:
        """Return the offset of the first wrong byte and the reason, none if there is no wrong byte."""
        decoder = codecs.getincrementaldecoder(codec)(errors)
        read = 0
        for block in self._blocks():
            read += len(block)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # error.object is the newest block, after the undecoded bytes of the block before it
                return read - len(error.object) + error.start, error.reason
            except UnicodeError:
                # UTF-16 or UTF-32 without its byte order mark
                return 0, ""
        return None

    def _utf_8_check(self) -> Utf8Check:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        characters = wrong = 0
        ends = {"\n": 0, "\r": 0}
        for block in self._blocks():
            text = decoder.decode(block, final=not block)
            if not wrong:
                before = ESCAPED.split(text, maxsplit=1)[0]
                ends = {end: count + before.count(end) for end, count in ends.items()}
            escaped = len(ESCAPED.findall(text))
            wrong += escaped
            characters += len(NON_ASCII.findall(text)) - escaped
        return Utf8Check(characters, wrong, 1 + (ends["\n"] or ends["\r"]))


def _decode_modified_utf_8(error: UnicodeError) -> tuple[str | bytes, int]:
    """Decode the NUL and the surrogates of Java's modified UTF-8, as an error handler of Python's codecs."""
    if isinstance(error, UnicodeDecodeError) and error.object.startswith(MODIFIED_NUL, error.start):
        return "\0", error.start + len(MODIFIED_NUL)
    return codecs.lookup_error("surrogatepass")(error)


codecs.register_error(MODIFIED_UTF_8, _decode_modified_utf_8)


def _rank(sample: bytes) -> list[str]:
    """Return the encodings that a text may have, the likeliest first."""
    if wide := [name for name in WIDE if _is_wide(sample, name)]:
        return wide
    found = [match.encoding for match in from_bytes(sample, cp_isolation=[*LATIN, *OTHERS])]
    letters = re.findall(r"[^\W\d_\x00-\x7f]", sample.decode(found[0])) if found else []
    if sum(letter < AFTER_LATIN for letter in letters) >= len(letters) / 2:
        found = [name for name in LATIN if "\ufffd" not in sample.decode(name, "replace")]
    # sorting is stable, so equal ones stay in this order
    return sorted(found, key=lambda name: _misfits(sample.decode(name)))


def _is_wide(sample: bytes, encoding: str) -> bool:
    """Return whether a text is of the script of an encoding of :data:`WIDE`."""
    letters, fraction = WIDE[encoding]
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    beside_another = re.findall(f"(?<=[{letters}])[{letters}]|[{letters}](?=[{letters}])", text)
    return len(beside_another) > fraction * len(NON_ASCII.findall(text))


def _misfits(text: str) -> int:
    """Return how many of a thousand characters a word can't have: a capital after a small letter, or a symbol."""
    pairs = ((before, after) for before, after in itertools.pairwise(text) if after > "\x7f" and before.isalpha())
    wrong = sum(
        (after.isupper() and before.islower()) or not (after.isalpha() or after.isspace() or after in TYPOGRAPHIC)
        for before, after in pairs
    )
    return 1000 * wrong // len(text)


def _compare(encodings: list[str], sample: bytes) -> str:
    """Return the first encoding and how it reads a word, then others that read the word differently."""
    words = itertools.islice(WORD.findall(sample), 1000)
    readings = [{name: word.decode(name, "replace") for name in encodings} for word in words]
    (_, first), *others = max(readings, key=_clarity).items()
    names: dict[str, str] = {}
    for name, reading in others:
        names.setdefault(reading, name)
    different = [f"{name} {reading!r}" for reading, name in names.items() if reading != first]
    alternatives = f" ({', '.join(different[: SHOWN_ENCODINGS - 1])})" if different else ""
    return f"{encodings[0]}, which reads {first!r}{alternatives}"


def _clarity(readings: dict[str, str]) -> tuple[bool, int, int]:
    """Return how well the readings of a word, the likeliest first, show which one is right."""
    first = next(iter(readings.values()))
    is_word = "\ufffd" not in first and len(first) >= SHORTEST_WORD
    return is_word, len(set(readings.values())), -len(first)


def _unmarked_unicode(start: bytes) -> str:
    """Return the encoding of Unicode text without a byte order mark, by the zeros in its first bytes."""
    return f"utf-{32 if start[:4].count(0) == 3 else 16}-{'le' if start[0] else 'be'}"
