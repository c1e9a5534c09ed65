"""How a network of an experiment comes about: built, initialised, pruned, repaired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Real
from typing import Any

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.isometry.checks import check_number
from jacprobe.isometry.initialisers import INITIALISERS
from jacprobe.isometry.repairmethods import METHODS as REPAIRS
from jacprobe.isometry.repairmethods import OBJECTIVES
from jacprobe.models import model_names
from jacprobe.models.registry import checked_arguments
from jacprobe.pruning.context import BATCH_NORMS
from jacprobe.pruning.losses import LOSSES
from jacprobe.pruning.methods import METHODS
from jacprobe.pruning.prunable import PRUNABLE
from jacprobe.training import Training
from jacprobe.training.settings import whole_number

SIGNED, EOI = "signed-magnitude", "eoi"  # beside the methods of `jacprobe.prune`
_CONTROLS = ("shuffled", "random", "rescaled", "reinitialised")
_INITS = tuple(name for name in INITIALISERS if name not in ("eoi", "sao"))  # those two make their own masks
_SIZED = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "cifar-10": (3, 32, 32), "digits": (1, 8, 8)}


@dataclass(frozen=True)
class Recipe:
    """What decides a network before it is trained; plain values, so that a recipe can be stored and compared.

    Attributes
    ----------
    network
        A name of `jacprobe.build`; arguments of the architecture behind a question mark, as in "resnet-20?k=2".
    data
        "mnist", "fashion-mnist", "cifar-10" or "digits": for scores, Jacobians and training.
    init, gamma
        A method of `jacprobe.initialize` that needs no argument but `gamma`, the variance of "sg".
    method, score_loss, sparsity, prunable, batch_norm
        As in `jacprobe.prune`, `score_loss` as `loss` there, for "snip" alone; with `method` None the network stays
        dense. "signed-magnitude" keeps the largest weights by their signed values, the negative ones last, as the
        published curves of magnitude pruning turn out to. "eoi" draws masks and exactly orthogonal weights together,
        as in `jacprobe.initialize`.
    scored_on, num_scored
        Data whose first `num_scored` training samples give the scores; by default `data`, all of them.
    pretraining, pretraining_rate, pretraining_momentum, pretraining_l2
        Iterations of descent, its rate, divided by 10 every 20,000, its momentum and its penalty, before the network is
        scored.
    control
        What is made of the mask: "shuffled" or "random" masks of the same counts, "rescaled" or "reinitialised"
        weights, as in `jacprobe.pruning.controls`.
    repair, objective, repair_steps
        As `method`, `objective` and `max_steps` in `jacprobe.isometrize`; None for no repair.
    reinit
        A method of `jacprobe.initialize` for fresh weights under the mask.
    seed
        The run: of the weights and of all that is drawn for the mask.
    """

    network: str = "mlp-7-tanh"
    data: str = "mnist"
    init: str = "orthogonal"
    gamma: float | None = None
    method: str | None = None
    score_loss: str = "labels"
    sparsity: float = 0.0
    prunable: str = "paper"
    batch_norm: str = "paper"
    scored_on: str | None = None
    num_scored: int | None = None
    pretraining: int = 0
    pretraining_rate: float = 0.1
    pretraining_momentum: float = 0.9
    pretraining_l2: float = 0.00025
    control: str | None = None
    repair: str | None = None
    objective: str = "gram"
    repair_steps: int | None = None
    reinit: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.architecture()
        for name, valid in _NAMES.items():
            if not (getattr(self, name) is None and _DEFAULTS[name] is None):
                _check_name(name, getattr(self, name), valid)
        _check_sparsity(self.sparsity)
        _check_seed(self.seed)
        for name in ("num_scored", "repair_steps"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 1)
        self._check_weights()
        self._check_pruning()

    def _check_weights(self) -> None:
        if (self.init == "sg") != (self.gamma is not None):
            raise ArgumentError(f"`gamma` must go with `init` 'sg'; got {self.gamma!r} with {self.init!r}. Give both or"
                                " neither.")
        if self.gamma is not None:
            check_number("gamma", self.gamma, "positive and finite", "It is the variance of the weights.")
        if whole_number("pretraining", self.pretraining, 0):
            self.pretraining_settings()

    def _check_pruning(self) -> None:
        if self.method is None and (self.sparsity or self.control):
            raise ArgumentError(f"`method` must be given with `sparsity` {self.sparsity} and `control`"
                                f" {self.control!r}; got None. Name how to prune, such as 'snip'.")
        by_loss = [name for name, method in METHODS.items() if method.score == "snip"]
        if self.score_loss != "labels" and self.method not in by_loss:
            raise ArgumentError(f"`score_loss` must be left out with `method` {self.method!r}; got"
                                f" {self.score_loss!r}. It is of {', '.join(map(repr, by_loss))}.")
        objectives = OBJECTIVES.get(self.repair, ("gram",))
        if self.objective not in objectives:
            raise ArgumentError(f"`objective` must be one that `repair` {self.repair!r} knows; got {self.objective!r}."
                                f" Known are {', '.join(objectives)}.")

    def pretraining_settings(self) -> Training:
        """Return how the network is trained before it is scored, for at least one iteration.

        Raises
        ------
        ArgumentError
            The rate, the momentum or the penalty is outside its domain.
        """
        return Training(iterations=self.pretraining, rate=self.pretraining_rate, momentum=self.pretraining_momentum,
                        l2=self.pretraining_l2, drop_every=20_000)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe among the settings of a cell, others left aside."""
        return cls(**{field.name: settings[field.name] for field in fields(cls) if field.name in settings})

    def settings(self) -> dict[str, Any]:
        """Return what differs from the defaults, and what every reader wants to see, by name.

        Examples
        --------
        >>> Recipe(method="snip", sparsity=0.9, seed=3).settings()
        {'network': 'mlp-7-tanh', 'data': 'mnist', 'init': 'orthogonal', 'method': 'snip', 'sparsity': 0.9, 'seed': 3}
        """
        shown = ("network", "data", "init", "method", "sparsity", "seed")
        return {name: value for name, value in asdict(self).items() if name in shown or value != _DEFAULTS[name]}

    def architecture(self) -> tuple[str, dict[str, Any]]:
        """Return the name and the arguments for `jacprobe.build`.

        Examples
        --------
        >>> Recipe(network="resnet-20?k=2&activation=tanh", data="cifar-10").architecture()
        ('resnet-20', {'k': 2, 'activation': 'tanh'})
        """
        name, _, given = self.network.partition("?") if isinstance(self.network, str) else (self.network, "", "")
        if name not in model_names() and not str(name).startswith("wrn-16-"):
            raise UnknownNameError("network", name, model_names(), "Of wrn-16-K any K >= 1 will do.")
        pairs = [text.partition("=") for text in given.split("&")] if given else []
        return name, checked_arguments(name, {key: int(value) if value.isdecimal() else value
                                              for key, _, value in pairs})

    def scored(self) -> Recipe:
        """Return what decides the scores: the recipe without a sparsity and all that comes after pruning."""
        return replace(self, **{name: _DEFAULTS[name] for name in _AFTER_SCORES})

    def dense(self) -> Recipe:
        """Return what decides the weights before pruning."""
        return replace(self, **{name: _DEFAULTS[name] for name in (*_AFTER_SCORES, *_OF_SCORES)})

    def input_shape(self) -> tuple[int, int, int]:
        """Return the shape of one image, (channels, height, width)."""
        return _SIZED[self.data]


_DEFAULTS = {field.name: field.default for field in fields(Recipe)}
_AFTER_SCORES = ("sparsity", "control", "repair", "objective", "repair_steps", "reinit")
_OF_SCORES = ("method", "score_loss", "prunable", "batch_norm", "scored_on", "num_scored")
_NAMES = {
    "data": _SIZED, "init": _INITS, "method": (*METHODS, SIGNED, EOI), "score_loss": LOSSES, "prunable": PRUNABLE,
    "batch_norm": BATCH_NORMS, "scored_on": _SIZED, "control": _CONTROLS, "repair": REPAIRS,
    "objective": tuple(dict.fromkeys(name for names in OBJECTIVES.values() for name in names)),
    "reinit": tuple(name for name in _INITS if name != "sg"),  # whose gamma is that of `init`
}


def _check_name(what: str, name: object, valid: Any) -> None:
    if not isinstance(name, str) or name not in valid:
        raise UnknownNameError(what, name, valid)


def _check_sparsity(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DtypeError(f"`sparsity` must be a number; got {value!r}. Pass 0.9 for 90 %.")
    if not 0 <= value <= 1:
        raise ArgumentError(f"`sparsity` must lie in [0, 1]; got {value!r}. Pass 0.9 for 90 %.")


def _check_seed(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ArgumentError(f"`seed` must be a whole number from 0 on, below 2**63; got {value!r}. Pass the run's"
                            " number.")
