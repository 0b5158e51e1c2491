"""What a report is made of, before it is HTML or Markdown: sections of texts, lists, tables and figures.

Everything is plain text; the renderers escape it. Nothing here knows how it will look.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

Tone = Literal["plain", "good", "alarm"]


@frozen
class Text:
    """A paragraph."""

    text: str
    tone: Tone = "plain"


@frozen
class Missing:
    """Something that should stand here and does not, with the reason."""

    what: str
    why: str


@frozen
class Items:
    """A list of terms and what they mean."""

    items: tuple[tuple[str, str], ...]


@frozen
class Cell:
    """A cell of a table. ``kind``: how it may be dressed ("verdict genuine transfer", "missing", "code")."""

    text: str
    kind: str = ""


@frozen
class Table:
    """Rows of cells under column heads; the first column names the row.

    Attributes:
        columns: the heads.
        rows: as many cells each as there are columns; a string is a plain cell.
        caption: what the table shows.
        numeric: positions of the columns that hold numbers.
        cards: on a narrow screen each row becomes a card; otherwise the table scrolls sideways.
        folded: shown when asked for.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    caption: str
    numeric: tuple[int, ...] = field(default=(), kw_only=True)
    cards: bool = field(default=False, kw_only=True)
    folded: bool = field(default=False, kw_only=True)


@frozen(eq=False)
class Figure:
    """A picture. ``name``: of its file, unique in a report; ``alt``: what it shows, in words."""

    name: str
    title: str
    alt: str
    svg: str
    png: bytes


@frozen(eq=False)
class Figures:
    """Pictures that may stand side by side."""

    figures: tuple[Figure, ...]


Block = Text | Missing | Items | Table | Figures


@frozen(eq=False)
class Section:
    """A heading and what stands under it. ``anchor``: unique, of letters, digits and hyphens."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@frozen(eq=False)
class Report:
    """The whole: title, a sentence or two, and the sections."""

    title: str
    summary: tuple[Text, ...]
    sections: tuple[Section, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All pictures, in order."""
        return tuple(
            figure
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figures)
            for figure in block.figures
        )
