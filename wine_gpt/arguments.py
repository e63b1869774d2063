"""Check the arguments of a function against its annotations, as Python callers may pass anything."""

import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike

from wine_gpt.errors import UserError

# how the types of arguments are named in errors
KINDS: Mapping[object, str] = types.MappingProxyType(
    {
        bool: "True or False",
        float: "a number",
        int: "a whole number",
        str: "a text",
        type(None): "None",
        PathLike: "a path",
        Sequence: "a list of texts",
    }
)
# Python's own types, which are no class of another library
PLAIN = (str, bytes, bool, int, float, complex, list, tuple, set, dict, type(None))


def checked_arguments(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
) -> inspect.BoundArguments:
    """Return a function's arguments, with a list in place of any other iterable where it takes a list of texts.

    A parameter ``**settings`` is not checked. Where a class of another library is expected, only Python's own types
    are refused, because a PEFT model may be passed as a ``PreTrainedModel``.

    Raises:
        UserError: for an argument of another type than the parameter's annotation.
        TypeError: for a missing or an unknown argument.
    """
    signature = inspect.signature(function)
    bound = signature.bind(*args, **kwargs)
    hints = typing.get_type_hints(function)
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
            bound.arguments[name] = _checked(name, value, _alternatives(hints[name]))
    return bound


def _alternatives(annotation: object) -> tuple[object, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _checked(name: str, value: object, alternatives: Sequence[object]) -> object:
    kinds = [typing.get_origin(alternative) or alternative for alternative in alternatives]
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes | PathLike | Mapping)
    if is_list and Sequence in kinds:
        texts = list(typing.cast(Iterable[object], value))
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str):
                raise UserError(f"{name}: number {number:,} of the list is {_shown(text)}: must be a text")
        return texts
    if not any(_fits(value, kind, typing.get_args(one)) for kind, one in zip(kinds, alternatives, strict=True)):
        raise UserError(f"{name} is {_shown(value)}: must be {_described(kinds)}")
    return value


def _fits(value: object, kind: object, parts: Sequence[object]) -> bool:
    if kind is tuple:
        is_complete = isinstance(value, tuple) and len(value) == len(parts)
        return is_complete and not any(isinstance(item, PLAIN) for item in typing.cast(tuple[object, ...], value))
    if kind in (int, float):
        # numbers of NumPy too
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    is_instance = isinstance(value, typing.cast(type, kind)) and kind is not Sequence
    # a DatasetDict is a dict
    return is_instance if kind in KINDS else is_instance or not isinstance(value, PLAIN)


def _described(kinds: Sequence[object]) -> str:
    names = [
        "(model, tokenizer)" if kind is tuple else KINDS.get(kind, f"a {getattr(kind, '__name__', kind)}")
        for kind in kinds
    ]
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _shown(value: object) -> str:
    return textwrap.shorten(repr(value), 60)
