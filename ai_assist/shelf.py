"""The models at hand: bundle folders found on disk, verified before every load.

A model whose files are not exactly those of its card is disabled with the reason.  There is no
fallback to another version, and nothing is ever fetched from a network.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ai_assist.card import ModelCard, parse_card
from ai_assist.errors import CardInvalid, InferenceFailed, ModelDisabled, ModelUnknown
from ai_assist.inference import OnnxPredictor, Predictor
from kernel.digest import sha256_of

CARD_FILE = "registry.json"
SUMS_FILE = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Disabled:
    """A bundle that does not run, and why; `model` is its folder name where no card is left."""

    folder: Path
    model: str
    version: str
    code: str
    sentence: str


def shipped_models() -> Path:
    """Return the folder of the models that come with the engine."""
    return Path(__file__).parent / "models"


class Shelf:
    """Bundles under some folders, each ``<folder>/<id>/<version>/registry.json``."""

    def __init__(
        self,
        folders: Iterable[Path],
        *,
        load: Callable[[ModelCard, bytes], Predictor] = OnnxPredictor,
    ) -> None:
        self._load = load
        self._places: dict[tuple[str, str], tuple[ModelCard, Path]] = {}
        self._disabled: dict[Path, Disabled] = {}
        self._loaded: dict[tuple[str, str], Predictor] = {}
        self._lock = threading.Lock()
        for folder in folders:
            for card_file in sorted(folder.glob(f"*/*/{CARD_FILE}")):
                self._place(card_file.parent)

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The cards of the models that may run, in order of id and version."""
        return tuple(card for _, (card, _) in sorted(self._places.items()))

    @property
    def disabled(self) -> tuple[Disabled, ...]:
        """The bundles that may not, with their reasons."""
        return tuple(self._disabled.values())

    def card(self, model_id: str, version: str) -> ModelCard:
        """Return one card.

        Raises
        ------
        ModelUnknown, ModelDisabled
            There is no such model here, or it is disabled.
        """
        return self._placed(model_id, version)[0]

    def predictor(self, model_id: str, version: str) -> Predictor:
        """Return a loaded model; its files are verified first, and kept loaded afterwards.

        Raises
        ------
        ModelUnknown, ModelDisabled
            There is no such model here, or a file of it is not the one its card names.
        """
        with self._lock:
            loaded = self._loaded.get((model_id, version))
            if loaded is not None:
                return loaded
            card, folder = self._placed(model_id, version)
            try:
                files = verified_files(folder, card)
                predictor = self._load(card, files[card.weights])
            except (ModelDisabled, InferenceFailed) as error:
                self._disable(folder, card.id, card.version, error.code, error.sentence)
                raise ModelDisabled(error.sentence, model=model_id, version=version) from error
            self._loaded[(model_id, version)] = predictor
            return predictor

    def _placed(self, model_id: str, version: str) -> tuple[ModelCard, Path]:
        found = self._places.get((model_id, version))
        if found is not None:
            return found
        for disabled in self._disabled.values():
            if (disabled.model, disabled.version) == (model_id, version):
                raise ModelDisabled(disabled.sentence, model=model_id, version=version)
        raise ModelUnknown("no such model is on the shelf", model=model_id, version=version)

    def _place(self, folder: Path) -> None:
        model, version = folder.parent.name, folder.name
        try:
            card = parse_card((folder / CARD_FILE).read_bytes())
            if (card.id, card.version) != (model, version):
                raise CardInvalid("a bundle lies in the folder <id>/<version> of its card")
            verified_files(folder, card)
        except (CardInvalid, ModelDisabled) as error:
            self._disable(folder, model, version, error.code, error.sentence)
            return
        except OSError as error:
            sentence = f"the card cannot be read: {error.strerror}"
            self._disable(folder, model, version, ModelDisabled.code, sentence)
            return
        # Folders are given in order of precedence, a site's own before the shipped one; a spoiled
        # copy is not replaced by a later one, as nobody would notice.
        if not self._is_disabled(card.id, card.version):
            self._places.setdefault((card.id, card.version), (card, folder))

    def _is_disabled(self, model: str, version: str) -> bool:
        return any((d.model, d.version) == (model, version) for d in self._disabled.values())

    def _disable(self, folder: Path, model: str, version: str, code: str, sentence: str) -> None:
        if self._places.get((model, version), (None, None))[1] == folder:
            del self._places[(model, version)]
        self._disabled[folder] = Disabled(folder, model, version, code, sentence)


def verified_files(folder: Path, card: ModelCard) -> dict[str, bytes]:
    """Return the bytes of every file of a bundle, each checked against card and sums.

    Raises
    ------
    ModelDisabled
        A file is missing, or is not the one that the card or ``SHA256SUMS`` names.
    """
    sums = _sums(folder)
    if sums.get(CARD_FILE) != sha256_of(_bytes(folder, CARD_FILE)):
        raise ModelDisabled("the card is not the one that SHA256SUMS names", model=card.id)
    files: dict[str, bytes] = {}
    for file in card.files:
        data = _bytes(folder, file.path)
        if len(data) != file.length or sha256_of(data) != file.sha256:
            raise ModelDisabled(
                f"the file {file.path} is not the one that the card names", model=card.id
            )
        if sums.get(file.path) != file.sha256:
            raise ModelDisabled(f"card and SHA256SUMS disagree about {file.path}", model=card.id)
        files[file.path] = data
    return files


def _bytes(folder: Path, path: str) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise ModelDisabled(f"the file {path} of the bundle cannot be read") from error


def _sums(folder: Path) -> dict[str, str]:
    """Return digest by path from ``SHA256SUMS``, in the spelling of sha256sum."""
    lines = _bytes(folder, SUMS_FILE).decode(errors="replace").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {parts[1].lstrip("*"): parts[0] for parts in pairs if len(parts) == 2}
