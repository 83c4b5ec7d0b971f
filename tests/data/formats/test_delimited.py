"""Delimited text in the dialects and encodings that people have: read back equal, or refused; never silently different."""

import csv
import io

import pytest
from helpers.tiny_models import EVERYTHING
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.formats.delimited import Dialect, read_delimited
from headprune_core.data.reading_plan import plan_examples

ASCII = "abZ .,;\t|\"'\n\r07="
HARD = ASCII + "\N{GRINNING FACE}\u2028\x0b"
LETTERS = {
    "utf-8": "äß日本Жé",
    "utf-8-sig": "äß日本Жé",
    "utf-16": "äß日本Жé",
    "gb18030": "房间很干净服务态度",
    "cp932": "部屋はとても清潔でした",
    "cp1251": "Комната была чистой",
    "cp1252": "Das Zimmer war schön, naïf, déçu",
}
SENTENCES = {
    "gb18030": "房间很干净，服务态度非常好",
    "cp932": "部屋はとても清潔でした",
    "cp1251": "Комната была очень чистой",
    "cp1252": "Das Zimmer war schön und groß, déçu",
}


def write(rows, header, *, delimiter, quoting, end, sep_line) -> str | None:
    """The rows as a program writes them; None if the dialect cannot express them."""
    cells = [cell for row in rows for cell in row]
    if quoting == csv.QUOTE_MINIMAL and any(set(cell) & (set("\r\n") - set(end)) for cell in cells):
        return None  # Python's writer leaves a line break without quotes if it ends no line
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end, quotechar='"', doublequote=True)
    if quoting == csv.QUOTE_NONE:
        if any(character in cell for cell in cells for character in (delimiter, "\n", "\r")):
            return None
        lines = [delimiter.join(row) for row in ([header] if header else []) + rows]
        buffer.write(end.join(lines) + end)
    else:
        if header:
            writer.writerow(header)
        writer.writerows(rows)
    return (f"sep={delimiter}{end}" if sep_line else "") + buffer.getvalue()


def expected_examples(rows):
    """What has to be read: stripped texts with their labels, without empty texts and repetitions."""
    found = {}
    for text, label in rows:
        if text.strip() and label.strip():
            found.setdefault(text.strip(), label.strip())
    return list(found.items())


@st.composite
def files(draw):
    encoding = draw(st.sampled_from(list(LETTERS)))
    older = encoding in SENTENCES
    cell = st.text((ASCII if older else HARD) + LETTERS[encoding], max_size=12)
    labels = draw(st.sampled_from([("pos", "neg"), ("0", "1", "2"), ("good, or so", "bad"), ('"x"', "y")]))
    rows = draw(st.lists(st.tuples(cell, st.sampled_from(labels)), min_size=1, max_size=12))
    if older:  # a few words of a language, as every file of people has
        rows += [(f"{SENTENCES[encoding]} {i}", labels[0]) for i in range(3)]
    rows = [tuple(part.encode(encoding, "ignore").decode(encoding) for part in row) for row in rows]
    delimiter = draw(st.sampled_from(",;\t|"))
    header = draw(st.sampled_from([["text", "label"], [" text ", "label "], ["Satz", "Klasse"], None]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_NONE]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    content = write(rows, header, delimiter=delimiter, quoting=quoting, end=end, sep_line=draw(st.booleans()))
    extension = ".tsv" if delimiter == "\t" else ".csv"
    return rows, header, content, encoding, extension


@pytest.mark.slow
@settings(max_examples=2_000 if EVERYTHING else 200, suppress_health_check=[HealthCheck.filter_too_much])
@given(files())
def test_a_table_is_read_back_equal_or_refused(tmp_path_factory, file):
    rows, header, content, encoding, extension = file
    assume(content is not None)
    path = tmp_path_factory.getbasetemp() / f"table{extension}"
    path.write_bytes(content.encode(encoding))
    names = header or ["column 1", "column 2"]
    try:
        plan = plan_examples(path, text_column=names[0].strip(), label_column=names[1].strip())
    except hp.HeadPruneError:
        return
    found = [] if "label" not in plan.rows else list(zip(plan.rows.text, map(str, plan.rows.label), strict=True))
    if found != expected_examples(rows):
        stated = {setting for setting, _ in plan.guesses}
        assert stated & {"encoding", "quoted"}, (found, plan.dialect)


TEXTS = ["It was fine", "a; b", "one, two", "x | y", "tab\there", 'she said "no"', "two\nlines", "5, please", "naïve"]


@pytest.mark.parametrize("header", [["text", "label"], [" Text ", "LABEL"], ["id;", "x"], None])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("sep_line", [True, False])
def test_every_dialect_with_quotes_is_read(header, delimiter, end, sep_line):
    rows = [(text, ["pos", "neg"][i % 2]) for i, text in enumerate(TEXTS * 2)]
    content = write(rows, header, delimiter=delimiter, quoting=csv.QUOTE_ALL, end=end, sep_line=sep_line)
    found = read_delimited(content, usual="\t" if delimiter == "\t" else ",", known_names=frozenset(("text", "label")))
    assert [tuple(row) for row in found.values] == rows
    assert found.dialect == Dialect(delimiter, True, header is not None)
    assert found.names == ([name.strip() for name in header] if header else ["column 1", "column 2"])


def delimited(content, usual=",", **options):
    return read_delimited(content, usual=usual, known_names=frozenset(("text", "label", "sentence")), **options)


def test_stray_quotes_of_an_unquoted_table_are_text():
    rows = [f"row {i} said a thing\t{i % 2}" for i in range(24)]
    rows[3], rows[14] = '"' + rows[3], '"' + rows[14]
    rows[7] = rows[7].replace("said", '5" long')
    found = delimited("sentence\tlabel\n" + "\n".join(rows) + "\n", "\t")
    assert ["\t".join(row) for row in found.values] == rows
    assert not found.dialect.quoted


def test_decimal_commas_do_not_separate():
    found = delimited("text;score\nfine;3,5\nbad;0,25\n")
    assert found.values == [["fine", "3,5"], ["bad", "0,25"]]
    assert ("delimiter", "The delimiter is the semicolon.") in found.guesses


def test_one_bad_row_is_reported_with_its_line_and_many_refuse_the_file():
    lines = [f"text {i},{i % 2}" for i in range(30)]
    lines[4] = "one, two, three,1"
    found = delimited("text,label\n" + "\n".join(lines))
    assert found.bad == [(6, "4 values, expected 2")]
    assert len(found.values) == 29
    assert found.lines[:5] == [2, 3, 4, 5, 7]
    lines[:9] = ["one, two, three,1"] * 9
    with pytest.raises(hp.HeadPruneError, match=r"no delimiter gives all rows .* \(9 of 31 rows differ by comma"):
        delimited("text,label\n" + "\n".join(lines))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,5;a\n2,5;b\n", "delimiter is ambiguous: comma and semicolon give all rows equally many values"),
        ('text\tlabel\n"a\t1\nb"\t0\n', r"quotes are ambiguous: they enclose values of 2 rows, or .* in 3 rows; say which"),
        ("text,label\nfine\nbad\nso so\n", "most rows have one value, but the first has several"),
    ],
)
def test_what_is_ambiguous_stops_with_the_choices(content, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        delimited(content)


def test_a_choice_settles_what_is_ambiguous():
    assert delimited("1,5;a\n2,5;b\n", delimiter=";").values == [["1,5", "a"], ["2,5", "b"]]
    assert delimited('text\tlabel\n"a\t1\nb"\t0\n', quoted=True).values == [["a\t1\nb", "0"]]
    assert delimited('text\tlabel\n"a\t1\nb"\t0\n', quoted=False).values == [['"a', "1"], ['b"', "0"]]
    assert delimited("Satz,Klasse\nja,nein\n", header=False).values == [["Satz", "Klasse"], ["ja", "nein"]]


@pytest.mark.parametrize(
    ("first", "header", "certain"),
    [
        ("I liked it a lot,pos", False, True),  # the label of other rows
        ("3,pos", False, True),
        (",pos", False, True),
        ("Sentence,x", True, True),
        ("tweet body,feeling", True, False),
    ],
)
def test_the_header_is_detected(first, header, certain):
    found = delimited(first + "\n" + "".join(f"some text {i},{['pos', 'neg'][i % 2]}\n" for i in range(8)))
    assert found.dialect.header is header
    assert ("header" not in dict(found.guesses)) is certain


def test_columns_of_one_name_stay_apart():
    assert delimited("text,text,label\na,b,1\n").names == ["text", "text (2)", "label"]
