"""Read a column's raw values as text or numbers, and find texts that spell a missing value."""

import contextlib
import re
from html.entities import html5

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# what pandas, R, SQL, Python and spreadsheets write for a missing value; "Nan" and "none" are left out, because they
# are words
MISSING_SPELLINGS = (
    *("NA", "N/A", "n/a", "N.A.", "n.a.", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "-NaN"),
    *("NULL", "Null", "null", "(null)", "(NULL)", "\\N", "None", "-", "--", "–", "—"),
)
# an HTML entity; its name is looked up
ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
# a writer of Parquet may store texts in them
_TYPES_OF_BYTES = (
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
    *(pa.types.is_binary_view, pa.types.is_string_view),
)
# from here on a 64-bit float does not hold every integer
_MAX_INTEGER = 2.0**53
# what Arrow can cast to a float; NaN in any case is an empty value
_NUMBER = r"^([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[nN][aA][nN])$"


def read_values(values: pa.Array, type_: pa.DataType) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Cast a column's values.

    Args:
        values: of any type.
        type_: string, int64 or float64.

    Returns:
        the values, null where one is NaN or does not fit the type; and which do not fit, bool of shape (values,).
    """
    if pa.types.is_string(type_):
        read = _as_text(values)
    else:
        values, numbers = _as_numbers(values)
        read = _as_integers(numbers) if pa.types.is_integer(type_) else numbers
    return read, np.asarray(pc.and_(pc.is_valid(values), pc.is_null(read)))


def decode(values: pa.Array) -> pa.Array:
    """Decode a dictionary, make NaN null, and make strings of bytes and string views if all are UTF-8."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), None, values)
    if any(is_type(values.type) for is_type in _TYPES_OF_BYTES):
        with contextlib.suppress(pa.ArrowException):
            return pc.cast(values, pa.string())
    return values


def is_text(values: pa.Array) -> bool:
    """Return whether a column's type is one of Arrow's string types."""
    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))


def remove_values(values: pa.Array, texts: tuple[str, ...]) -> pa.Array:
    """Make each value null that equals one of the texts but for white space around it."""
    if not texts:
        return values
    spelled = values if is_text(values) else _as_text(values)
    return pc.if_else(_equals_any(spelled, texts), None, values)


def count_missing_spellings(values: pa.Array) -> dict[str, int]:
    """Return how many values spell a missing value, by their spelling."""
    if not is_text(values):
        return {}
    found = pc.utf8_trim_whitespace(values.filter(_equals_any(values, MISSING_SPELLINGS)))
    return {count["values"]: count["counts"] for count in pc.value_counts(found).to_pylist()}


def _equals_any(values: pa.Array, texts: tuple[str, ...]) -> pa.Array:
    return pc.is_in(pc.utf8_trim_whitespace(values), pa.array(texts, values.type))


def _as_text(values: pa.Array) -> pa.Array:
    try:
        texts = pc.cast(values, pa.string())
    except pa.ArrowException:
        # a list or a struct
        return pa.nulls(len(values), pa.string())
    if pa.types.is_floating(values.type):
        # Arrow writes large whole numbers with an exponent
        whole = _as_integers(pc.cast(values, pa.float64()))
        texts = pc.if_else(pc.is_valid(whole), pc.cast(whole, pa.string()), texts)
    # decomposed letters, which macOS and some keyboards write, are the same words
    return pc.utf8_normalize(texts, "NFC")


def _as_numbers(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the values with empty ones as null, and their numbers, null where a value is not a finite number."""
    if is_text(values):
        trimmed = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
        numbers = pc.cast(pc.if_else(pc.match_substring_regex(values, _NUMBER), values, None), pa.float64())
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        numbers = pc.cast(values, pa.float64(), safe=False)
    else:
        # truth values, dates and nested values are no numbers
        return values, pa.nulls(len(values), pa.float64())
    values = pc.if_else(pc.fill_null(pc.is_nan(numbers), False), None, values)
    return values, pc.if_else(pc.is_finite(numbers), numbers, None)


def _as_integers(numbers: pa.Array) -> pa.Array:
    whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), _MAX_INTEGER))
    return pc.cast(pc.if_else(whole, numbers, None), pa.int64())


def count_entities(values: pa.Array) -> tuple[int, str]:
    """Return the number of texts that have an HTML entity, such as &amp; or &#39;, and the first entity."""
    if not is_text(values):
        return 0, ""
    # most texts have none, and the regular expression of Python is slower
    suspects = values.filter(pc.fill_null(pc.match_substring_regex(values, ENTITY.pattern), False)).to_pylist()
    first = [found for text in suspects if (found := next(filter(_is_entity, ENTITY.findall(text)), ""))]
    return len(first), first[0] if first else ""


def _is_entity(found: str) -> bool:
    return found.startswith("&#") or found[1:] in html5
