"""Uploads in a real Chromium: the plan of reading is right or asks, and nothing is scored before it is answered."""

from playwright.sync_api import expect

from tests.browser.page_actions import LONG, at_rest, expand, open_page, pick

UMLAUTS = "Satz;Klasse\r\n" + "".join(f"Schön war der Flug {i};{['positiv', 'negativ'][i % 2]}\r\n" for i in range(12))
UNKNOWN = "premise,hypothesis,label\n" + "".join(
    f"premise {i},hypothesis {i},{['positive', 'neutral', 'contradictory'][i % 3]}\n" for i in range(12)
)


def uploaded(tab, server, file):
    open_page(tab, server, "")
    expand(tab, "Load another model or dataset", tab.get_by_role("radio", name="Upload"))
    tab.get_by_role("radio", name="Upload").click()
    at_rest(tab)
    tab.locator("input[type=file]").set_input_files(file)
    expect(tab.get_by_test_id("stMain")).to_contain_text("Reading plan")
    at_rest(tab)
    return tab.get_by_role("button", name="Load and score")


def test_a_semicolon_table_with_umlauts_in_windows_1252(tab, server, tmp_path):
    file = tmp_path / "umlaute.csv"
    file.write_bytes(UMLAUTS.encode("cp1252"))
    load = uploaded(tab, server, file)
    main = tab.get_by_test_id("stMain")
    expect(main).to_contain_text("The delimiter is the semicolon")
    expect(main).to_contain_text("The encoding is likely cp1252")
    expect(main).to_contain_text("text in 'Satz', labels in 'Klasse'")
    expect(load).to_be_enabled()
    load.click()
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("umlaute.csv", timeout=LONG)
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("4 calibration examples, 8 evaluation examples")
    expect(main).to_contain_text("Unpruned accuracy")


def test_a_table_with_one_unknown_label_whose_labels_are_left_out_then(tab, server, tmp_path):
    file = tmp_path / "nli.csv"
    file.write_text(UNKNOWN)
    load = uploaded(tab, server, file)
    main = tab.get_by_test_id("stMain")
    expect(main).to_contain_text("1 of 3 labels are not classes of the model")
    expect(load).to_be_disabled()
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("built-in tweets")
    pick(tab, "contradictory (4)", "Exclude")
    expect(load).to_be_enabled()
    expect(main).to_contain_text("4 rows labeled 'contradictory' were left out")
    pick(tab, "Label column", "none")
    at_rest(tab)
    load.click()
    expect(main).to_contain_text("The dataset has no labels", timeout=LONG)
