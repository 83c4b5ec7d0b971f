"""The policy of a server: what visitors may open, the settings file of demo mode, and messages without paths."""

import pytest

from headprune_core import HeadPruneError
from headprune_core.cli.hosting import DEFAULT_DEMO, Hosting, demo_settings, server_policy

CLOSED = Hosting(local_paths=False, exposed=True)
PATHS = [
    "/etc/passwd",
    "/root",
    "~/notes.txt",
    "~root/x",
    "../../etc",
    "./here",
    "a/../b",
    "a/..",
    "..",
    ".",
    "a/b/c",
    "C:\\Users",
    "\\\\server\\share",
    "file:///etc/passwd",
    "https://evil.test/x",
    "hf://datasets/a/b",
    "a/b\n",
    "a//b",
    "a b/c",
    "",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("policy", [Hosting(), CLOSED])
def test_a_field_for_hub_ids_takes_no_path(policy, path):
    with pytest.raises(HeadPruneError, match="must have the form owner/name"):
        policy.check_model(path, None, is_folder=False)
    with pytest.raises(HeadPruneError, match="must have the form owner/name"):
        policy.check_dataset(path)


@pytest.mark.parametrize("name", ["text", "csv", "json", "parquet", "imagefolder"])
def test_a_reader_of_the_library_is_no_dataset(name):
    """The library would read all files of the server's working directory."""
    with pytest.raises(HeadPruneError, match="must have the form owner/name"):
        Hosting().check_dataset(name)


@pytest.mark.parametrize("name", ["stanfordnlp/sst2", "a-b/c.d_e", "GEM/wiki_lingua"])
def test_hub_ids_are_taken(name):
    for policy in (Hosting(), CLOSED):
        policy.check_model(name, "main", is_folder=False)
        policy.check_dataset(name)
    CLOSED.check_model("gpt2", None, is_folder=False)
    CLOSED.check_model("embedded", None, is_folder=False)
    CLOSED.check_dataset("embedded")


@pytest.mark.parametrize("revision", ["../../refs", "/etc/passwd", "a/../b", "x y", "", "~"])
def test_a_revision_is_no_path(revision):
    with pytest.raises(HeadPruneError, match="the revision must be"):
        CLOSED.check_model("a/b", revision, is_folder=False)


@pytest.mark.parametrize("path", ["/etc", "here", "a/b"])
def test_a_folder_is_opened_only_where_local_paths_are_allowed(path):
    Hosting().check_model(path, None, is_folder=True)
    with pytest.raises(HeadPruneError, match="opens no local folders"):
        CLOSED.check_model(path, None, is_folder=True)


def test_a_demo_offers_only_its_lists():
    demo = demo_settings()
    demo.check_model("embedded", None, is_folder=False)
    demo.check_dataset("embedded")
    demo.check_uploads()
    for name, folder in (("gpt2", False), ("smollm2", False), ("/etc", True), ("embedded/..", True)):
        with pytest.raises(HeadPruneError, match="offers only the models embedded"):
            demo.check_model(name, None, is_folder=folder)
    with pytest.raises(HeadPruneError, match="offers only the datasets"):
        demo.check_dataset("stanfordnlp/sst2")
    with pytest.raises(HeadPruneError, match="takes no uploads"):
        Hosting(datasets=("embedded",)).check_uploads()


def test_caps():
    demo = Hosting(examples=50, masks=10, upload_mb=2)
    assert (demo.capped(960), demo.capped(8), Hosting().capped(960)) == (50, 8, 960)
    assert (demo.upload_limit(5), demo.upload_limit(1), Hosting().upload_limit(5)) == (2, 1, 5)
    demo.check_masks(10)
    with pytest.raises(HeadPruneError, match="up to 11 masks, but this server allows 10"):
        demo.check_masks(11)
    Hosting().check_masks(10**9)


@pytest.mark.parametrize(
    ("address", "hosts", "environment", "exposed", "paths"),
    [
        ("127.0.0.1", ["localhost", "127.0.0.1", "::1"], {}, False, True),
        ("localhost", [], {}, False, True),
        ("::1", [], {}, False, True),
        ("0.0.0.0", [], {}, True, False),
        (None, [], {}, True, False),
        ("192.168.1.7", [], {"HEADPRUNE_ALLOW_LOCAL_PATHS": "1"}, True, True),
        ("127.0.0.1", ["localhost", "demo.example.com"], {}, True, False),
        ("127.0.0.1", ["*"], {}, True, False),
    ],
)
def test_paths_are_local_only_on_the_loopback_address(address, hosts, environment, exposed, paths):
    policy = server_policy(address, hosts, environment)
    assert (policy.exposed, policy.local_paths, policy.demo) == (exposed, paths, False)
    assert (policy.notice is None) == (not exposed)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_demo_mode_opens_no_paths(address):
    policy = server_policy(address, [], {"HEADPRUNE_DEMO": "", "HEADPRUNE_ALLOW_LOCAL_PATHS": "1"})
    assert (policy.demo, policy.local_paths) == (True, False)
    assert "240 examples" in policy.notice


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("masks = 500", "masks = 0"), "masks in .* whole number of at least 26, got 0"),
        (("masks = 500", "masks = true"), "masks in .* whole number of at least 26, got True"),
        (("masks = 500", 'masks = "many"'), "whole number"),
        (("masks = 500", "masks = 25"), "masks in .* whole number of at least 26, got 25"),
        (("masks = 500", ""), "check masks"),
        (("masks = 500", "masks = 50\nmask = 5"), "check mask"),
        (('models = ["embedded"]', "models = []"), "models in .* must be a list of names"),
        (('models = ["embedded"]', 'models = "embedded"'), "must be a list of names"),
        (('models = ["embedded"]', 'models = ["gpt2"]'), "must contain 'embedded'"),
        (('models = ["embedded"]', 'models = ["embedded", "/root/model"]'), "form owner/name"),
        (('"upload"]', '"text"]'), "form owner/name"),
        (("masks = 500", "masks = = 5"), "not valid TOML"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(tmp_path, change, problem):
    text = DEFAULT_DEMO.read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "demo.toml").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(HeadPruneError, match=problem) as error:
        demo_settings(tmp_path / "demo.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the folder /root/x contains no config.json", "the folder (a file of the server) contains no config.json"),
        ("not found: '/root/my dir/x.txt'", "not found: '(a file of the server)'"),
        ("~/x/y.csv: no rows", "(a file of the server): no rows"),
        ("C:\\Users\\me\\f.txt", "(a file of the server)"),
        ("../../a/b.json", "(a file of the server)"),
        ("(/tmp/x)", "((a file of the server))"),
        ("model owner/name, 1/2 and A / B at https://a.b/c/d", None),
    ],
)
def test_messages_name_no_paths_to_visitors(text, expected):
    assert CLOSED.without_paths(text) == (expected or text)
    assert Hosting().without_paths(text) == text
