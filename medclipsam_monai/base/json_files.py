"""JSON files as data: the one place that reads those a user gives, and writes them.

Whatever is wrong with such a file (not there, a folder, too large, not UTF-8, cut off, nested too deeply, a name given
twice, another shape than expected) is one line. A byte order mark, as some editors on Windows write, is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text

MAX_BYTES = 64 << 20
MAX_DEPTH = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_object(path: str | Path, remedy: str = "", max_bytes: int = MAX_BYTES, what: str = "") -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: of the file.
        remedy: what to do about a file that cannot be used, said at the end of the error.
        max_bytes: a larger file is refused before it is read.
        what: what it is called in an error, before its path: "preset".

    Returns:
        Plain dictionaries, lists, texts and numbers; NaN and Infinity are numbers, as Python writes them.

    Raises:
        InputError: the file is not there, is not JSON, or holds anything else.
    """
    name = f"{what} {path}" if what else str(path)
    return json_object(_parsed(_text(Path(path), name, remedy, max_bytes), name, remedy, "a readable JSON file"), name)


def read_list(path: str | Path, remedy: str = "", max_bytes: int = MAX_BYTES) -> list[Any]:
    """The list in a JSON file, see `read_object`.

    Raises:
        InputError: the file is not there, is not JSON, or holds anything else.
    """
    name = str(path)
    content = _parsed(_text(Path(path), name, remedy, max_bytes), name, remedy, "a readable JSON file")
    if not isinstance(content, list):
        raise InputError(f"{name} must hold a JSON list, got {kind(content)}")
    return content


def read_own_object(path: str | Path) -> dict[str, Any] | None:
    """The object in a JSON file that this package wrote for itself; None where there is none, or something else.

    Unlike in a user's file, a text in it may hold half a surrogate pair: a file's name that is no UTF-8.
    """
    try:
        content = json.loads(_text(Path(path), str(path), "", MAX_BYTES))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def parse_object(text: str, name: str) -> dict[str, Any]:
    """The object in a JSON text.

    Args:
        text: to parse.
        name: of where it comes from, for the error.

    Raises:
        InputError: it is not JSON, is nested too deeply, gives a name twice in one object, or holds anything else.
    """
    return json_object(_parsed(text, name, "", "JSON"), name)


def json_object(content: object, name: str) -> dict[str, Any]:
    """``content`` if it is an object.

    Raises:
        InputError: it is anything else.
    """
    if not isinstance(content, dict):
        raise InputError(f"{name} must hold a JSON object, got {kind(content)}")
    return content


def write_json(record: Mapping[str, Any], path: str | Path) -> Path:
    """Writes a record as JSON indented by 4; NaN and infinity are refused.

    Bytes of a file's name that are no UTF-8 (surrogates) are written as JSON's escapes.

    Raises:
        ValueError: a number that JSON cannot hold.
        InputError: the file cannot be written.
    """
    text = json.dumps(record, indent=4, ensure_ascii=False, allow_nan=False) + "\n"
    return write_text(Path(path), _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def kind(content: object) -> str:
    """What a value of JSON is called, with its article."""
    if content is None:
        return "null"
    if isinstance(content, bool):
        return "true or false"
    if isinstance(content, (int, float)):
        return "a number"
    kinds: Mapping[type, str] = {dict: "an object", list: "a list", str: "a text"}
    return kinds.get(type(content), f"a {type(content).__name__}")


def _parsed(text: str, name: str, remedy: str, expected: str) -> Any:
    try:
        content = json.loads(text, object_pairs_hook=_distinct)
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair cannot be printed or written
    except RecursionError as error:
        raise _error(f"{name} is nested too deeply; expected at most {MAX_DEPTH} levels", remedy) from error
    except UnicodeEncodeError as error:
        raise _error(f"{name} holds a character that is none (half a surrogate pair)", remedy) from error
    except ValueError as error:  # a JSONDecodeError, a name given twice, or a number of more than 4,300 digits
        raise _error(f"{name} is not {expected}: {error}", remedy) from error
    if _depth(content) > MAX_DEPTH:
        raise _error(f"{name} is nested too deeply; expected at most {MAX_DEPTH} levels", remedy)
    return content


def _text(path: Path, name: str, remedy: str, max_bytes: int) -> str:
    try:
        if path.is_dir():
            raise _error(f"{name} is not a readable JSON file: it is a folder", remedy)
        if not path.is_file():  # a pipe or a device would never end
            raise _error(f"{name} is not a readable JSON file: there is no such file", remedy)
        size = path.stat().st_size
        if size > max_bytes:
            raise _error(f"{name} has {size:,} bytes; expected a JSON file of at most {max_bytes:,}", remedy)
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(f"{name} is not a readable JSON file: byte {error.start} is not UTF-8", remedy) from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise _error(f"{name} is not a readable JSON file: {reason}", remedy) from error


def _error(message: str, remedy: str) -> InputError:
    return InputError(f"{message}; {remedy}" if remedy else message)


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one name the first would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the name {key!r} occurs twice in one object")
        found[key] = value
    return found


def _depth(content: object) -> int:
    """Levels of objects and lists, counted without recursion."""
    depth, level = 0, [content]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [value for item in level for value in (item.values() if isinstance(item, dict) else item)]
    return depth
