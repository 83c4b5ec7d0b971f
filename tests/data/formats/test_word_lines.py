"""Files of one word per line: decided by content, read as they are, or refused."""

import pytest

import headprune_core as hp
from headprune_core.data.formats.word_lines import read_word_lines

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
"""


def read(text, **options):
    found = read_word_lines(text, **options)
    return found and list(zip(found.words, found.tags, found.rows, strict=True))


def test_the_first_and_the_last_column_are_read():
    found = read_word_lines(CONLL_2003)
    assert found.words == [["EU", "rejects"], ["Peter"]]
    assert found.tags == [["B-ORG", "O"], ["B-PER"]]
    assert found.rows == [3, 6]
    assert found.guesses == []
    assert found.layout.describe() == (
        "one word per line, the word in column 1 and its tag in column 4 of 4, separated by spaces, 1 lines of comments or "
        "document marks dropped"
    )


def test_tabs_and_comments_and_hard_words():
    text = '# id 1\nNew York\tB-LOC\t\n#\tO\n"\tO\n\n# id 2\nBonn\tB-LOC\n'
    assert read(text, certain=True) == [
        (["New York", "#", '"'], ["B-LOC", "O", "O"], 2),
        (["Bonn"], ["B-LOC"], 7),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tags_that_are_no_entities_are_a_guess(end):
    text = end.join(["I PRP", "run VB", "", "You PRP", "run VB", "home NN", ""] * 2)
    found = read_word_lines(text)
    assert found.words == [["I", "run"], ["You", "run", "home"]] * 2
    assert [setting for setting, _ in found.guesses] == ["lines"]
    assert read_word_lines(text, certain=True).guesses == []


@pytest.mark.parametrize(
    "text",
    [
        "good\tpos\nbad\tneg\n",  # lines with labels
        "good\tpos\n\nbad\tneg\n\n",  # with an empty line after each
        "a fine day\tpos\na bad day\tneg\n\nso so\tneg\nwell\tpos\n",  # texts of several words
        "text\tlabel\ngood\tpos\n\nbad\tneg\nso\tneg\nwell\tpos\n",  # a header
        "one\ntwo\n\nthree\n",
        "the quick fox\njumps\n\nover the\nlazy dogs ran\n",
    ],
)
def test_other_texts_are_no_words_with_tags(text):
    assert read(text, known_names=frozenset(("text", "label"))) is None


def test_one_damaged_sentence_is_left_out():
    text = "Ann\tB-PER\n\n" * 20 + "Bonn\tB-LOC\nParis\n"
    found = read_word_lines(text)
    assert found.bad == [(42, "1 value in a line, expected 2")]
    assert len(found.words) == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann\nBonn\n", "each line must have a word and its tag"),
        ("Ann\tB-PER\nBonn\nParis\n", "each line must have a word and its tag"),
        ("1\tAnn\tB-PER\n2\tlives\tO\n\n1\tBonn\tB-LOC\n", "its first column contains word numbers, as in CoNLL-U"),
    ],
)
def test_other_files_of_words_are_refused(text, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        read(text, certain=True)
