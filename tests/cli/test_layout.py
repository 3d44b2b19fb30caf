"""On a narrow terminal, text is wrapped between words, and no state, id or number is cut or split."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from crl_stream.cli.layout import fit, folded, wrap

words = st.text("abcdef0123456789-:./", min_size=1, max_size=30)
sentences = st.lists(words, min_size=1, max_size=12).map(" ".join)
tables = st.integers(1, 7).flatmap(
    lambda width: st.tuples(
        st.lists(words, min_size=width, max_size=width),
        st.lists(st.lists(words | sentences, min_size=width, max_size=width), min_size=1, max_size=5),
    )
)


@settings(max_examples=300, deadline=None)
@given(tables, st.integers(20, 200))
def test_every_word_of_every_cell_is_there_whole(table: tuple[list[str], list[list[str]]], width: int) -> None:
    columns, rows = table
    shown = " ".join(fit(columns, rows, width)).split()
    for row in rows:
        for cell in row:
            for word in cell.split():
                assert word in shown


@settings(max_examples=300, deadline=None)
@given(tables, st.integers(20, 200))
def test_no_line_is_wider_than_the_terminal_unless_a_word_is(
    table: tuple[list[str], list[list[str]]], width: int
) -> None:
    columns, rows = table
    widest = max(cell_len(word) for row in rows for cell in row for word in cell.split())
    # In the block layout, the column's name precedes the first word of its cell.
    allowed = max(width, widest + 6, *(cell_len(row[0]) for row in rows), *(cell_len(name) + 6 for name in columns))
    for line in fit(columns, rows, width):
        assert cell_len(line) <= allowed, line


def test_a_table_that_fits_is_left_alone() -> None:
    assert fit(["a", "bb"], [["1", "2"]], 80) == ["a  bb", "1  2"]


def test_a_sentence_is_wrapped_beside_ids_that_stay_whole() -> None:
    lines = fit(
        ["id", "reason"],
        [["rb-20251119-782af3edde5b", "Success rate dropped from 90% to 75% (16.7% drop), and more words to wrap"]],
        60,
    )
    assert lines[1].startswith("rb-20251119-782af3edde5b  Success rate dropped")
    assert lines[2].startswith(" " * 26)
    assert max(map(len, lines)) <= 60


def test_what_does_not_fit_beside_each_other_becomes_a_block_for_each_row() -> None:
    names = ["when", "task", "change", "id"]
    row = [
        "2025-11-19T14:31:41.000Z",
        "backend-architect/api-design",
        "api-optimized -> default",
        "rb-20251119-782af3e",
    ]
    lines = fit(names, [row], 80)
    assert lines[0] == row[0]
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(f"{name}: {cell}" in text for name, cell in zip(names[1:], row[1:], strict=True))


def test_wide_characters_count_as_two_cells() -> None:
    for line in fit(["名前", "理由"], [["値", "長い 文章 です " * 5]], 30):
        assert cell_len(line) <= 30


def test_an_empty_text_is_one_empty_line() -> None:
    assert wrap("", 20, "  ") == ["  "]


@settings(max_examples=300, deadline=None)
@given(st.lists(words, min_size=1, max_size=30).map(" ".join), st.integers(20, 200), st.integers(0, 8))
def test_a_folded_line_keeps_every_word_whole_and_is_no_wider_than_the_terminal(
    text: str, width: int, indent: int
) -> None:
    lines = folded(" " * indent + text, width).split("\n")
    assert " ".join(lines).split() == text.split()
    widest = max(map(cell_len, text.split()))
    assert all(cell_len(line) <= max(width, indent + 2 + widest) for line in lines)
    assert all(line.startswith(" " * indent) for line in lines)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(" ab", max_size=40), max_size=5).map("\n".join))
def test_text_that_fits_is_not_changed_when_it_is_folded(text: str) -> None:
    assert folded(text, 40) == text
