"""Warn of characters that a wrong encoding made: mojibake, control characters and replacement characters."""

import logging
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from wine_gpt.data.columns import Batches

logger = logging.getLogger(__name__)

# the byte of each character of Windows-1252; bytes that it lacks are the control characters of Latin-1
CP1252_BYTES = {chr(byte): byte for byte in range(256)} | {
    bytes([byte]).decode("cp1252", "ignore"): byte for byte in range(256)
}
CONTINUATION = "".join(character for character, byte in CP1252_BYTES.items() if 0x80 <= byte < 0xC0)
# the first two bytes of a UTF-8 character decoded as Windows-1252; or other signs of a wrong encoding
SUSPECT = f"[Â-ô][{CONTINUATION}]|[\x80-\x9f\ufffd]"
NON_ASCII = re.compile(r"[^\x00-\x7f]+")
# the first letter after the Latin ones in Unicode
AFTER_LATIN = "\u0250"
# a character outside ASCII in UTF-7
UTF_7 = re.compile(r"\+[A-Za-z0-9+/]{3,}-")
# the escape sequences of encodings that have ASCII bytes only
ESCAPES = {"iso2022_jp": re.compile(r"\x1b\$[@B]"), "hz": re.compile(r"~\{(?:[!-}][!-~])+~\}")}
ASCII_ONLY = "|".join(pattern.pattern for pattern in (UTF_7, *ESCAPES.values()))
CONTROL = re.compile(r"[\x80-\x9f]")


def warn_of_mojibake(batches: Batches, name: str, codec: str) -> Batches:
    """Yield the batches, and log a warning for the first record of each kind of wrong characters.

    Args:
        batches: the batches of the source.
        name: the source, for messages.
        codec: the encoding with which the source was read.
    """
    warned: set[str] = set()
    read = 0
    for batch in batches:
        for row, column, value in _suspects(batch):
            kind, advice = _diagnose(value, codec)
            if kind and kind not in warned:
                warned.add(kind)
                logger.warning("%s: record %s: %s has %s", name, f"{read + row + 1:,}", column, advice)
        read += batch.num_rows
        yield batch


def _suspects(batch: pa.RecordBatch) -> Iterator[tuple[int, str, str]]:
    """Yield the row, the column and the value of each text that may have wrong characters."""
    for column, values in zip(batch.schema.names, batch.columns, strict=True):
        if not pa.types.is_string(values.type):
            continue
        # most texts are ASCII, which is faster to test than the pattern
        is_ascii = pc.string_is_ascii(values)
        rows = pc.indices_nonzero(pc.fill_null(pc.invert(is_ascii), False))
        rows = rows.filter(pc.match_substring_regex(values.take(rows), SUSPECT))
        ascii_rows = pc.indices_nonzero(pc.fill_null(pc.match_substring_regex(values, ASCII_ONLY), False))
        rows = pa.concat_arrays([rows, ascii_rows.filter(is_ascii.take(ascii_rows))])
        yield from ((row, column, values[row].as_py()) for row in rows.to_pylist())


def _diagnose(value: str, codec: str) -> tuple[str, str]:
    """Return the kind of wrong characters and the message's end, two empty strings if nothing is wrong."""
    if encoded := next(filter(_of_utf_7, UTF_7.findall(value)), ""):
        advice = "name the file's encoding, data.encoding utf-7"
        return "utf-7", f"{encoded!r}, which reads {encoded.encode().decode('utf-7')!r} in UTF-7: {advice}"
    for encoding, pattern in ESCAPES.items():
        if escape := pattern.search(value):
            return encoding, f"{escape[0]!r}, as in {encoding}: name the file's encoding, data.encoding {encoding}"
    runs: list[str] = NON_ASCII.findall(value)
    if not runs:
        return "", ""
    decoded = _repaired(runs)
    if decoded:
        repair = "correct the file: text.encode('cp1252').decode('utf-8')"
        advice = repair if codec.startswith("utf-8") else "leave data.encoding out"
        return "mojibake", f"{runs[0]!r}, which reads like {decoded!r} in UTF-8 decoded as Windows-1252: {advice}"
    if control := CONTROL.search(value):
        advice = ": try data.encoding cp1252" if codec.startswith("iso8859") else ", as after a wrong conversion"
        return "control", f"the control character {control[0]!r}{advice}"
    if "\ufffd" in value:
        return "replacement", "U+FFFD in place of a character that an earlier conversion lost"
    return "", ""


def _of_utf_7(run: str) -> bool:
    """Return whether a run is letters outside ASCII in UTF-7, and not ASCII between a plus and a hyphen."""
    try:
        letters = run.encode().decode("utf-7")
    except UnicodeDecodeError:
        return False
    # other scripts' letters may be chance, such as "+abc-"
    return all("\x7f" < letter < AFTER_LATIN and letter.isalpha() for letter in letters)


def _repaired(runs: list[str]) -> str:
    """Return the first run as UTF-8, an empty string unless all runs are UTF-8 that was decoded as Windows-1252."""
    try:
        decoded = [bytes(CP1252_BYTES[character] for character in run).decode() for run in runs]
    except (KeyError, UnicodeDecodeError):
        return ""
    return decoded[0]
