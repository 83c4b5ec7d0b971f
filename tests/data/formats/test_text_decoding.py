"""Encodings of text files: marks and UTF-8 are certain, older encodings are stated as guesses, and bad bytes are found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.formats.text_decoding import decode
from headprune_core.data.table_io import read_table

SENTENCES = {
    "gb18030": "房间很干净，服务态度非常好",
    "cp932": "部屋はとても清潔でした",
    "cp1251": "Комната была очень чистой",
    "cp1252": "Das Zimmer war schön und groß, déçu",
    "cp949": "방이 아주 깨끗했고 직원들이 친절했습니다",
    "big5": "房間很乾淨，服務態度非常好",
}


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), min_size=1))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_certain(encoding, text):
    found = decode(text.encode(encoding))
    assert found.text == text
    assert found.certain


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_without_a_mark(encoding):
    text = "text,label\na fine day,1\n"
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize("encoding", SENTENCES)
@pytest.mark.parametrize("rows", [3, 9, 90])
def test_older_encodings_are_guessed_and_said_so(encoding, rows):
    text = "text\tlabel\n" + "".join(f"{SENTENCES[encoding]} {i}\t{i % 2}\n" for i in range(rows))
    found = decode(text.encode(encoding))
    assert (found.text, found.encoding, found.certain) == (text, encoding, False)
    table = read_table("a.tsv", text.encode(encoding))
    assert ("encoding", f"The encoding is likely {encoding}; check the letters.") in table.guesses


def test_one_stray_byte_costs_one_row():
    text = "text,label\n" + "".join(f"naïve café \N{GRINNING FACE} {i},{i % 2}\n" for i in range(9))
    table = read_table("a.csv", text.encode() + b"x\xff,1\n")
    assert table.encoding == "utf-8"
    assert len(table.frame) == 9
    assert [(part.row, part.reason) for part in table.left_out] == [(11, "with a byte that is not utf-8")]
    with pytest.raises(hp.HeadPruneError, match=r"4 rows are damaged \(the first is row 11: a byte that is not utf-8\)"):
        read_table("a.csv", text.encode() * 1 + b"x\xff,1\n" * 4)


@pytest.mark.parametrize(
    ("data", "encoding", "words"),
    [
        (b"text\n\xff\n", "utf-8", r"not utf-8: byte 5 \(0xff\) is invalid; choose another encoding"),
        (b"text\n", "utf-99", "encoding 'utf-99' is unknown"),
        (bytes(range(256)), None, "looks like binary data, not plain text"),
        (b"ab\x81\x8d\x8f \x98\x90\xa0\xff\n", None, "its encoding"),
    ],
)
def test_what_cannot_be_decoded_is_refused(data, encoding, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        decode(data, encoding)


def test_a_named_encoding_is_used():
    assert decode("schön".encode("cp1252"), "cp1252").text == "schön"
