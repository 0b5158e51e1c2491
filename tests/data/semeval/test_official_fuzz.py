"""Whatever the organisers' files hold, a task is loaded, or refused with a DataError, and in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import loading
from tests.data.fuzz import MANY, Reader, fuzz, refused_at_most, within
from tests.data.semeval import small

TASKS = [name for name in OFFICIAL if not name.startswith("semeval2017_t3_")]
PIECES = [
    *(
        "||",
        "|",
        "\t",
        "\n",
        "\r\n",
        "\n\n",
        ",",
        "[",
        "]",
        "{",
        "}",
        '"',
        "null",
        "-1",
        "9" * 30,
        "\x00",
        "\ufeff",
        "&x;",
    ),
    *("<!--", "]]>", "<", "/>", "</RelQuestion>", "DocTimeRel", "T000001", "#", "%s", "Good", "http://", "\ud7ff"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes, small.SIZES = small.SIZES, {"train": 2, "dev": 1, "test": 1}
    try:
        return small.write(tmp_path_factory.mktemp("official"))
    finally:
        small.SIZES = sizes


def reader(folder: Path, name: str) -> Reader:
    place = folder / OFFICIAL[name].folder
    good = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
    changed = st.sampled_from(list(good)).flatmap(
        lambda path: st.tuples(st.just(path), st.one_of(within(good[path], PIECES), st.binary(max_size=60)))
    )

    def read(change: tuple[Path, bytes], _: None) -> None:
        path, content = change
        path.write_bytes(content)
        try:
            with refused_at_most():
                loading.load(name, place)
        finally:
            path.write_bytes(good[path])

    return Reader(changed, st.none(), read)


@pytest.mark.parametrize("name", TASKS)
def test_whatever_a_file_holds_the_task_is_loaded_or_refused(folder: Path, name: str) -> None:
    fuzz(reader(folder, name), 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_many_files_are_loaded_or_refused(folder: Path, name: str) -> None:
    fuzz(reader(folder, name), MANY)
