"""XML files: trees as the standard library reads them, and nothing that grows or reaches outside."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Log
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats import xml_file

LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
DECLARED = "found the declaration of the entity "
OUTSIDE = "found a declaration outside of the file or a parameter entity"


def file(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def same(a: ElementTree.Element, b: ElementTree.Element) -> bool:
    return (
        (a.tag, a.attrib, a.text, a.tail) == (b.tag, b.attrib, b.text, b.tail)
        and len(a) == len(b)
        and all(map(same, a, b))
    )


@pytest.mark.parametrize(
    "content",
    [
        "<a/>",
        '<?xml version="1.0" encoding="utf-8"?>\r\n<a b="1" c="&lt;&#10;x">é &amp; <!-- no --><b/>tail\r\n<b>x</b></a>',
        '<!DOCTYPE a [<!ELEMENT a (#PCDATA)> <!ATTLIST a b CDATA #REQUIRED>]><a b="1">x<![CDATA[<b>]]>y</a>',
        b'<?xml version="1.0" encoding="iso-8859-1"?><a>caf\xe9</a>',
        "<a>é</a>".encode("utf-16"),
        b"\xef\xbb\xbf<a>x</a>",
        "<a>" + "é <b>long text</b>" * 20_000 + "</a>",
    ],
)
def test_the_tree_is_that_of_the_standard_library(tmp_path: Path, content: str | bytes) -> None:
    path = file(tmp_path, content)
    root = xml_file.parse(path, Log(strict=True))
    assert root is not None
    assert same(root, ElementTree.parse(path).getroot())


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (f'<!DOCTYPE a [<!ENTITY a0 "ha">{LAUGHS}]><a>&a9;</a>', "line 1, column ", DECLARED + "'a0'"),
        ('<!DOCTYPE a [\n<!ENTITY x SYSTEM "{}">]><a>&x;</a>', "line 2, column ", DECLARED + "'x'"),
        ('<!DOCTYPE a [<!ENTITY x PUBLIC "x" "{}">]><a>&x;</a>', "line 1, column ", DECLARED + "'x'"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "{}"> %x;]><a/>', "line 1, column ", DECLARED + "'x'"),
        ('<!DOCTYPE a [<!NOTATION n SYSTEM "n"><!ENTITY x SYSTEM "{}" NDATA n>]><a/>', "line 1, ", DECLARED + "'x'"),
        ('<!DOCTYPE a SYSTEM "{}"><a b="&x;"/>', "line 1, column ", OUTSIDE),
        ('<!DOCTYPE a PUBLIC "x" "{}"><a b="&x;"/>', "line 1, column ", OUTSIDE),
        ('<!DOCTYPE a [ %x; ]><a b="&x;"/>', "line 1, column 15", OUTSIDE),
        ('<?xml version="1.0" standalone="yes"?><!DOCTYPE a SYSTEM "{}"><a b="&x;"/>', "line 1, ", "undefined entity"),
        ('<?xml version="1.0" standalone="yes"?><!DOCTYPE a [%x;]><a b="&x;"/>', "line 1, ", "undefined entity"),
        ("<a>\n  &x;</a>", "line 2, column 3", "undefined entity"),
        ('<a b="&x;"/>', "line 1, column ", "undefined entity"),
    ],
)
def test_entities_are_refused(tmp_path: Path, content: str, where: str, what: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = file(tmp_path, content.replace("{}", secret.as_uri()))
    log = Log()
    assert xml_file.parse(path, log) is None
    (problem,) = log.problems
    assert problem.path == path
    assert problem.done == "skipped"
    assert problem.where.startswith(where)
    assert problem.what == f"{what}; expected well-formed XML without entities"
    with pytest.raises(DataError) as caught:
        xml_file.parse(path, Log(strict=True))
    assert str(caught.value) == f"{path}, {problem.where}: {problem.what}"


def test_a_declaration_outside_is_not_read_where_nothing_hangs_on_it(tmp_path: Path) -> None:
    (tmp_path / "a.dtd").write_text('<!ATTLIST a b CDATA "default">')
    path = file(tmp_path, '<?xml version="1.0" standalone="yes"?><!DOCTYPE a SYSTEM "a.dtd"><a/>')
    root = xml_file.parse(path, Log(strict=True))
    assert root is not None
    assert root.attrib == {}


@pytest.mark.parametrize(
    "before", ["", "\ufeff", '<?xml version="1.0"?>\n', "<!-- <!DOCTYPE x> -->\n<?p <!DOCTYPE?> <!---->"]
)
@pytest.mark.parametrize("kind", ['SYSTEM "a.dtd"', "SYSTEM\n'a.dtd' ", "PUBLIC '-//x' \"a.dtd\""])
def test_a_declaration_outside_is_not_read_where_it_may_stand(tmp_path: Path, before: str, kind: str) -> None:
    (tmp_path / "a.dtd").write_text('<!ATTLIST a b CDATA "default"><!ENTITY x "y">')
    path = file(tmp_path, f"{before}<!DOCTYPE a {kind}><a>&lt;</a>")
    root = xml_file.parse(path, Log(strict=True), outside=True)
    assert root is not None
    assert (root.attrib, root.text) == ({}, "<")
    assert xml_file.parse(path, Log()) is None
    for content in ("<a>&x;</a>", '<a b="&x;"/>', "<a><![CDATA[&x;]]>&x;</a>"):
        head = f"{before}<!DOCTYPE a {kind}>"
        log = Log()
        assert xml_file.parse(file(tmp_path, head + content), log, outside=True) is None
        (problem,) = log.problems
        line = (head + content).count("\n") + 1
        assert problem.where.startswith(f"line {line}, column ")
        assert problem.what == "undefined entity; expected well-formed XML without entities"


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE a SYSTEM "a.dtd" [<!ENTITY x "y">]><a/>',
        '<!DOCTYPE a SYSTEM "a.dtd" [%x;]><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "a.dtd">]><a/>',
        '<a/><!DOCTYPE a SYSTEM "a.dtd">',
        '<!DOCTYPE a SYSTEM "a.dtd"><!DOCTYPE a SYSTEM "a.dtd"><a/>',
    ],
)
def test_nothing_else_is_accepted_with_a_declaration_outside(tmp_path: Path, content: str) -> None:
    assert xml_file.parse(file(tmp_path, content), Log(), outside=True) is None


def test_default_values_of_attributes_do_not_repeat(tmp_path: Path) -> None:
    root = xml_file.parse(file(tmp_path, '<!DOCTYPE a [<!ATTLIST b c CDATA "xxx">]><a><b/><b c="1"/></a>'), Log(True))
    assert root is not None
    assert [b.attrib for b in root] == [{}, {"c": "1"}]


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("", "line 1, column 1", "no element found"),
        ("<a>\n <b></a>", "line 2, column 7", "mismatched tag"),
        ("<a>\n<b>", "line 2, column 4", "no element found"),
        ("<a/>\n<b/>", "line 2, column 1", "junk after document element"),
        ('<a b="1" b="2"/>', "line 1, column 10", "duplicate attribute"),
        (b"<a>\xe9</a>", "line 1, column 4", "not well-formed (invalid token)"),
        (b"<a>\0</a>", "line 1, column 4", "not well-formed (invalid token)"),
        ('<?xml version="1.0" encoding="none-such"?><a/>', "line 1, column 31", "unknown encoding: none-such"),
        ('<?xml version="1.0" encoding="big5"?><a/>', "line 1, column 31", "multi-byte encodings are not supported"),
    ],
)
def test_broken_files(tmp_path: Path, content: str | bytes, where: str, what: str) -> None:
    path, log = file(tmp_path, content), Log()
    assert xml_file.parse(path, log) is None
    assert [str(p) for p in log.problems] == [
        f"{path}, {where}: {what}; expected well-formed XML without entities (skipped)"
    ]
    with pytest.raises(DataError, match="expected well-formed XML"):
        xml_file.parse(path, Log(strict=True))


def test_depth_is_no_stack(tmp_path: Path) -> None:
    depth = 200_000
    root = xml_file.parse(file(tmp_path, "<a>" * depth + "</a>" * depth), Log(strict=True))
    assert root is not None
    assert sum(1 for _ in root.iter()) == depth


@settings(deadline=None)  # files on a busy machine
@given(st.text(st.characters(codec="utf-8")))
@example("\ufffe")
@example("a\rb\r\n]]>&amp;")
def test_what_is_escaped_is_read_back_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "escaped.xml"
    try:
        content = xml_file.escape(text)
    except DataError:
        path.write_text(f"<a>{text.replace('&', '').replace('<', '')}</a>", encoding="utf-8")
        assert xml_file.parse(path, Log()) is None
        return
    path.write_bytes(f"<a>{content}</a>".encode())
    root = xml_file.parse(path, Log(strict=True))
    assert root is not None
    assert (root.text or "") == text


def test_escape_names_what_it_refuses() -> None:
    with pytest.raises(DataError, match=r"the character '\\x0b' at 2 cannot be written in XML"):
        xml_file.escape("ab\x0b")
    with pytest.raises(DataError, match=r"the character '\\ud800' at 0"):
        xml_file.escape("\ud800")
    assert xml_file.escape("]]>") == "]]&gt;"
