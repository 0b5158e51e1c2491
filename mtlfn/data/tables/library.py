"""Tables that the `datasets` library reads: folders of ``save_to_disk``, the Hub, Parquet files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict

from mtlfn.data.example import DataError
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.tables.rows import class_names
from mtlfn.data.tables.table import Row, Table

if TYPE_CHECKING:
    import datasets


def read_disk(name: str, mapping: Mapping, path: Path, files: dict[str, list[Path]]) -> dict[Any, Table]:
    """A folder written by ``save_to_disk``."""
    return _tables(name, mapping, load_disk(name, path))


def load_disk(name: str, path: Path) -> Any:
    """What ``datasets`` gives for a folder of ``save_to_disk``; DataError where it cannot."""
    import datasets

    try:
        return datasets.load_from_disk(str(path))
    # IndexError: a split saved without rows; others: its own files hold something else
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(
            f"task {name}: {path} cannot be loaded ({error}); expected a folder written by "
            "datasets.DatasetDict.save_to_disk, with at least one row in every split"
        ) from error


def read_hub(name: str, mapping: Mapping, path: Path, files: dict[str, list[Path]]) -> dict[Any, Table]:
    """A data set of the Hub."""
    import datasets

    base = path.parents[mapping.source.count("/")]
    where = "beside the TOML file that names it" if base == Path() else f"below {base}"
    try:
        tables = datasets.load_dataset(
            mapping.source, name=mapping.subset, revision=mapping.revision, data_dir=mapping.data_dir
        )
    except Exception as error:  # whatever the Hub client, its HTTP library or a parser raises
        raise DataError(
            f"task {name}: {mapping.source!r} is no folder {where} and cannot be loaded from the Hub "
            f"({type(error).__name__}: {error}); check the id, revision, subset, data_dir, network and access, or "
            "save the data set on a connected machine with save_to_disk and give its folder as source"
        ) from error
    return _tables(name, mapping, tables)


def read_parquet(name: str, mapping: Mapping, path: Path, files: dict[str, list[Path]]) -> dict[Any, Table]:
    """Parquet files, one or more a split; class names are those that `datasets` keeps in them."""
    return _tables(name, mapping, load_parquet(name, path, files))


def load_parquet(name: str, path: Path, files: dict[str, list[Path]]) -> dict[str, datasets.Dataset]:
    """Split -> what ``datasets`` gives for its files; DataError where it cannot."""
    import datasets

    tables = {}
    for split, paths in files.items():
        with tempfile.TemporaryDirectory(prefix="mtlfn-parquet-") as scratch, _quiet():
            try:
                tables[split] = datasets.Dataset.from_parquet(
                    [str(p) for p in paths], cache_dir=scratch, keep_in_memory=True
                )
            except Exception as error:  # whatever the library's readers raise
                raise DataError(
                    f"task {name}: {', '.join(p.name for p in paths)} in {path} cannot be read as Parquet "
                    f"({_said(error.__cause__ or error)}); write the file again"
                ) from error
    return tables


def rows_of(table: Any, place: str) -> Iterator[tuple[int, Row]]:
    """(number, row); DataError where the library cannot decode one."""
    rows, number = iter(table), 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # whatever its decoders raise: text that is not UTF-8, dates beyond Python's
            raise DataError(f"{place}, row {number} or after it: cannot be read ({_said(error)})") from error
        yield number, dict(row)
        number += 1


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's bars and log lines: what is wrong is told once, by the error."""
    import datasets
    from datasets.utils import logging

    level, shown = logging.get_verbosity(), not datasets.are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


def _tables(name: str, mapping: Mapping, tables: Any) -> dict[Any, Table]:
    if not isinstance(tables, dict):
        raise DataError(
            f"task {name}: {mapping.source} holds one table ({type(tables).__name__}), expected named splits; save a "
            "datasets.DatasetDict with train and validation"
        )
    if not tables:
        raise DataError(f"task {name}: {mapping.source} holds no split; save a datasets.DatasetDict with train")
    if mapping.format == "bigbio":
        from mtlfn.data.tables import bigbio

        return bigbio.tables(name, mapping, tables)
    return {split: _table(mapping, split, table) for split, table in tables.items()}


def _table(mapping: Mapping, split: Any, table: datasets.Dataset) -> Table:
    columns = [part for column in asdict(mapping.columns).values() if column for part in column.split(" + ")]
    wanted = list(dict.fromkeys(columns))
    if not set(wanted) <= set(table.column_names):
        table = table.flatten()  # records become column.field
    present = [column for column in wanted if column in table.column_names]
    # Other columns may be costly to decode (images); a stored format may turn lists into arrays.
    chosen = table.select_columns(present).with_format(None)

    def rows() -> Iterator[tuple[str, Row]]:
        for number, row in rows_of(chosen, f"split {split}"):
            yield f"row {number}", row

    names = {column: class_names(table.features[column]) for column in present}
    return Table(place=f"split {split}", rows=rows, columns=tuple(table.column_names), names=names)
