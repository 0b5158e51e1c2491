"""An XML file as a tree, with nothing in it that could make the tree larger than the file or reach outside of it.

The five entities of XML itself and character references are read; no other entity is, declared or not.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mtlfn.data.document import Log
from mtlfn.data.example import DataError

# A document type that is declared outside of the file and nowhere else, where a file in an ASCII-like encoding has it.
_OUTSIDE = re.compile(
    rb"(?P<before>(?:\xef\xbb\xbf)?(?>\s++|<\?(?>.*?\?>)|<!--(?>.*?-->))*+)"
    rb"(?P<type><!DOCTYPE\s++[^\s\[>]++\s++(?:SYSTEM|PUBLIC\s++(?>\"[^\"]*+\"|'[^']*+'))\s++(?>\"[^\"]*+\"|'[^']*+')\s*+>)",
    re.DOTALL,
)
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


class _Refused(Exception):
    """What was found and is never read."""


def parse(path: Path, log: Log, *, outside: bool = False) -> Element | None:
    """The root element. None where the file is no well-formed XML or refused: the log tells line and column, from 1.

    A document type declaration is accepted, except for declarations of entities, a declaration outside of the file
    and parameter entities. Its default values of attributes are not applied. As XML demands, CRLF and CR are read as
    LF, unless written as character references.

    Args:
        outside: whether a declaration outside of the file is accepted. It is not read, and no entity is taken to be
            declared there.
    """
    content = path.read_bytes()
    if outside and (declared := _OUTSIDE.match(content)):
        blank = re.sub(rb"[^\n]", b" ", declared["type"])  # places in the file stay
        content = declared["before"] + blank + content[declared.end() :]
    tree = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    # A default of a megabyte would be repeated with each of a million empty elements.
    parser.specified_attributes = True
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    parser.EntityDeclHandler = _refuse_entity
    # Without it, an entity that could be declared elsewhere would be dropped silently.
    parser.NotStandaloneHandler = _refuse_outside
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        problem, line, column = expat.ErrorString(error.code), error.lineno, error.offset
    except (_Refused, LookupError, ValueError) as error:  # the last two: an encoding that Python does not know or serve
        problem, line, column = str(error), parser.CurrentLineNumber, parser.CurrentColumnNumber
    else:
        return tree.close()
    log.skipped(path, f"line {line}, column {column + 1}", f"{problem}; expected well-formed XML without entities")
    return None


def escape(text: str) -> str:
    """A text as the content of an element that is parsed as that text. DataError names a character XML cannot hold."""
    if match := _NO_CHARACTER.search(text):
        raise DataError(f"the character {match[0]!r} at {match.start()} cannot be written in XML")
    # A bare CR would be read as LF.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _refuse_entity(name: str, *declaration: object) -> None:
    raise _Refused(f"found the declaration of the entity {name!r}")


def _refuse_outside() -> int:
    raise _Refused("found a declaration outside of the file or a parameter entity")
