"""What a server of the browser app allows its visitors: models, datasets, paths and the size of a run.

The settings file of demo mode is TOML; its keys are the fields of `Hosting` that `DEMO_KEYS` names.
"""

import ipaddress
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headprune_core.data.source_tables import is_hub_dataset_id
from headprune_core.errors import HeadPruneError
from headprune_core.locations import app_folder
from headprune_core.model.builtin import is_builtin
from headprune_core.model.loading import has_hub_form
from headprune_core.model.smollm2 import SMOLLM2

DEFAULT_DEMO = app_folder() / "assets" / "demo.toml"
LISTS = ("models", "datasets")
CAPS = ("examples", "tokens", "masks", "seconds", "upload_mb")
LEAST = dict.fromkeys(CAPS, 1) | {"masks": 26}  # pruning a model evaluates 26 masks, whatever its settings
DEMO_KEYS = (*LISTS, *CAPS)
REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./-]*", re.ASCII)
DEMO, ALLOW_LOCAL_PATHS, WARNED = "HEADPRUNE_DEMO", "HEADPRUNE_ALLOW_LOCAL_PATHS", "HEADPRUNE_WARNED"  # in the environment
# A path: in quotes up to the closing one, else up to a space or a mark that ends a word. The second half of "owner/name" or
# of an address is none, since a letter, a digit, a dot, a slash or a colon stands before its slash.
_START = r"(?:~[\w.-]*[/\\]|/(?=[\w.~-])|[A-Za-z]:[/\\]|\.\.[/\\]|\\\\)"
PATHS = re.compile(
    rf"""(?P<quote>['"`“]){_START}[^'"`”\n]*(?=['"`”])"""
    rf"""|(?<![\w./:\\<]){_START}[^\s'"`“”,;:()\[\]]*"""
)


@dataclass(frozen=True)
class Hosting:
    """What visitors of a server can do; the default is a server on the user's own computer.

    Attributes:
        local_paths: whether visitors can open folders of the server, and errors name its paths.
        demo: whether only `models` and `datasets` are offered.
        exposed: whether other computers can reach the server.
        models: allowed sources of models: "embedded", "smollm2" or Hub model IDs; None for all.
        datasets: allowed datasets: "embedded", "upload" (files and pasted lines) or Hub dataset IDs; None for all.
        examples: maximum number of examples in the calibration set, and in the evaluation set; None for no limit.
        tokens: maximum number of tokens per example; None for no limit.
        masks: maximum number of masks that one run evaluates; None for no limit.
        seconds: maximum time of one job in seconds; None for no limit.
        upload_mb: maximum size of an uploaded file in MB; None for the server's own limit.
    """

    local_paths: bool = True
    demo: bool = False
    exposed: bool = False
    models: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    examples: int | None = None
    tokens: int | None = None
    masks: int | None = None
    seconds: int | None = None
    upload_mb: int | None = None

    @property
    def upload_bytes(self) -> int | None:
        """Maximum size of an uploaded file in bytes; None for the server's own limit."""
        return None if self.upload_mb is None else self.upload_mb * 2**20

    def upload_limit(self, megabytes: int) -> int:
        """Return the maximum size of a file in MB, at most that of this server.

        Args:
            megabytes: the maximum size on the user's own computer.
        """
        return megabytes if self.upload_mb is None else min(megabytes, self.upload_mb)

    @property
    def time_is_up(self) -> str:
        """The error of a job that takes longer than `seconds`."""
        return f"this server stops a job after {self.seconds} s; choose fewer examples or masks"

    @property
    def notice(self) -> str | None:
        """What the app tells every visitor about this server; None on the user's own computer."""
        if self.demo:
            return (
                f"Demo server. A run uses at most {self.examples:,} examples, {self.tokens:,} tokens per example, "
                f"{self.masks:,} masks and {self.seconds:,} s. Uploads (at most {self.upload_mb} MB) stay in memory."
            )
        if not self.exposed:
            return None
        folders = "open any folder of the server that contains a model, " if self.local_paths else ""
        return (
            f"Other computers can reach this server. Visitors can {folders}load any model or dataset of the Hugging Face "
            "Hub, upload data, and use the server's processor and memory without limits."
        )

    @property
    def advice(self) -> str:
        """What the operator of an exposed server can do."""
        return (
            "To restrict them, start the app with --demo. Visitors need the server's name in Streamlit's option "
            "--server.allowedHosts."
        )

    def check_model(self, source: str, revision: str | None, *, is_folder: bool) -> None:
        """Check that visitors may load a model.

        Args:
            source: "embedded", "smollm2", a Hub model ID, or a folder.
            revision: revision of a Hub model, or None.
            is_folder: whether the user entered it as a folder.

        Raises:
            HeadPruneError: if they may not.
        """
        if self.models is not None and source not in self.models:
            raise HeadPruneError(f"this server offers only the models {', '.join(self.models)}; choose one of them")
        if is_builtin(source) or source == SMOLLM2:
            return
        if is_folder:
            if not self.local_paths:
                raise HeadPruneError(
                    "this server opens no local folders; choose a Hub model, or start the app with --allow-local-paths"
                )
            return
        if not has_hub_form(source):
            raise HeadPruneError(f"the Hub model ID must have the form owner/name, got {source!r}{self._folder_hint}")
        if revision is not None and not REVISION.fullmatch(revision):
            raise HeadPruneError(f"the revision must be a branch, tag or commit of the Hub model, got {revision!r}")

    def check_dataset(self, name: str) -> None:
        """Check that visitors may load a dataset of the Hub, or the built-in dataset.

        Args:
            name: "embedded", or a Hub dataset ID.

        Raises:
            HeadPruneError: if they may not.
        """
        if self.datasets is not None and name not in self.datasets:
            raise HeadPruneError(f"this server offers only the datasets {', '.join(self.datasets)}; choose one of them")
        if not is_builtin(name) and not is_hub_dataset_id(name):
            raise HeadPruneError(
                f"the Hub dataset ID must have the form owner/name, such as stanfordnlp/sst2, got {name!r}; to read a file, "
                "choose Upload"
            )

    def check_uploads(self) -> None:
        """Check that visitors may use their own data.

        Raises:
            HeadPruneError: if they may not.
        """
        if self.datasets is not None and "upload" not in self.datasets:
            raise HeadPruneError(f"this server takes no uploads; choose one of its datasets: {', '.join(self.datasets)}")

    def check_masks(self, n_masks: int) -> None:
        """Check the number of masks of a run.

        Args:
            n_masks: number of masks at most.

        Raises:
            HeadPruneError: if it is too large.
        """
        if self.masks is not None and n_masks > self.masks:
            raise HeadPruneError(
                f"this run evaluates up to {n_masks:,} masks, but this server allows {self.masks:,}; choose fewer criteria, "
                "sparsities or random rankings"
            )

    def capped(self, n_examples: int) -> int:
        """Return a number of examples, at most that of this server.

        Args:
            n_examples: number of examples.
        """
        return n_examples if self.examples is None else min(n_examples, self.examples)

    def without_paths(self, text: str) -> str:
        """Return a message in which no path of the server is named, unless visitors can open local paths.

        Args:
            text: the message.
        """
        return text if self.local_paths else PATHS.sub(lambda found: f"{found['quote'] or ''}(a file of the server)", text)

    @property
    def _folder_hint(self) -> str:
        return "; to open a folder, choose Local folder" if self.local_paths else ""


def server_policy(address: str | None, hosts: Sequence[str], environment: Mapping[str, str]) -> Hosting:
    """Return the policy of a server.

    Args:
        address: the address that it is bound to; None for all addresses.
        hosts: the names that visitors can open it by.
        environment: the environment of its process. HEADPRUNE_DEMO names the settings file of demo mode (empty: the default
            one), and HEADPRUNE_ALLOW_LOCAL_PATHS=1 lets visitors open folders of an exposed server.

    Returns:
        The policy. A server that other computers can reach opens no local folders by default.

    Raises:
        HeadPruneError: if the settings file of demo mode cannot be used.
    """
    if DEMO in environment:
        return demo_settings(Path(environment[DEMO] or DEFAULT_DEMO))
    exposed = not all(map(_is_loopback, (address, *hosts)))
    return Hosting(local_paths=not exposed or environment.get(ALLOW_LOCAL_PATHS) == "1", exposed=exposed)


def _is_loopback(name: str | None) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(str(name).strip("[]")).is_loopback
    except ValueError:  # another name, or all addresses
        return False


def demo_settings(file: Path = DEFAULT_DEMO) -> Hosting:
    """Read the settings file of demo mode.

    Args:
        file: TOML file with all keys of `DEMO_KEYS`.

    Returns:
        The settings of a demo server.

    Raises:
        HeadPruneError: if the file cannot be read, or if a key is missing, unknown or has no possible value.
    """
    try:
        values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise HeadPruneError(f"the demo settings {file} cannot be read ({error.strerror}); name a TOML file") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise HeadPruneError(f"the demo settings {file} are not valid TOML ({error}); correct the file") from error
    wrong = sorted(set(values) ^ set(DEMO_KEYS))
    if wrong:
        raise HeadPruneError(f"the demo settings {file} must have the keys {', '.join(DEMO_KEYS)}; check {', '.join(wrong)}")
    for name in CAPS:
        if type(values[name]) is not int or values[name] < LEAST[name]:
            raise HeadPruneError(f"{name} in {file} must be a whole number of at least {LEAST[name]}, got {values[name]!r}")
    for name in LISTS:
        if not isinstance(values[name], list) or not values[name] or not all(isinstance(one, str) for one in values[name]):
            raise HeadPruneError(f"{name} in {file} must be a list of names, got {values[name]!r}")
        values[name] = tuple(values[name])
    for one in values["models"]:
        Hosting(local_paths=False).check_model(one, None, is_folder=False)
    for one in set(values["datasets"]) - {"upload"}:
        Hosting(local_paths=False).check_dataset(one)
    if "embedded" not in values["models"] or "embedded" not in values["datasets"]:
        raise HeadPruneError(f"models and datasets in {file} must contain 'embedded', with which every visit starts")
    return Hosting(local_paths=False, demo=True, exposed=True, **values)
