import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.text import parse_whole_number, read_csv, read_lines


def test_lines_end_in_lf_or_crlf_and_blank_ones_do_not_count(place):
    path = place.write("list.txt", ["\ufeffa b", "", "c  "], end="\r\n")
    assert [line for _, line in read_lines(path)] == ["a b", "c"]
    assert [where for where, _ in read_lines(path)] == [f"{path}, line 1", f"{path}, line 3"]


def test_a_file_that_is_not_there_is_named(place):
    with pytest.raises(UserError, match=r"cannot read .*nothing\.txt: No such file"):
        list(read_lines(place.lists / "nothing.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\nb\n\xff\n", "line 3: not UTF-8"), (b"a\nb\x1b[2J\n", "line 2: .* has control characters")],
)
def test_a_line_that_is_not_text_is_named(place, content, message):
    path = place.lists / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        (["a,b", "1,2", "1"], "line 3: 1 fields, where the header has 2"),
        (["a,b", "1,2,3"], "line 2: 3 fields, where the header has 2"),
        (["a,b", '"1,2'], "unexpected end of data"),
    ],
)
def test_a_csv_file_with_broken_rows_is_refused(place, lines, message):
    with pytest.raises(UserError, match=message):
        list(read_csv(place.write("table.csv", lines)))


def test_cells_come_as_they_are_written(place):
    path = place.write("table.csv", ["a,b", "", ' 007,"x, ""y"""'])
    assert list(read_csv(path))[1] == (f"{path}, line 3", [" 007", 'x, "y"'])


@pytest.mark.parametrize("text", ["", "-1", "1.0", " 1", "1e3", "²", "٣", "1_0", "1234567890"])
def test_only_a_few_ascii_digits_are_a_whole_number(text):
    assert parse_whole_number(text) is None
    assert parse_whole_number("012") == 12
