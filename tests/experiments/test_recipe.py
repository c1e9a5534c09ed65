import pytest

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.experiments.recipe import Recipe


def test_settings_give_the_recipe_back():
    recipe = Recipe(network="lenet-300-100", data="digits", init="sg", gamma=0.1, method="snip", score_loss="uniform",
                    sparsity=0.97, control="shuffled", seed=4)
    assert Recipe.of(recipe.settings() | {"iterations": 100}) == recipe


def test_a_recipe_before_scoring_has_no_sparsity_and_before_pruning_no_method():
    recipe = Recipe(method="snip", score_loss="raw", sparsity=0.9, repair="paper-sgd", repair_steps=10, pretraining=5)
    assert recipe.scored() == Recipe(method="snip", score_loss="raw", pretraining=5)
    assert recipe.dense() == Recipe(pretraining=5)


def test_pretraining_has_its_own_rate_momentum_and_penalty():
    plain = Recipe(pretraining=5).pretraining_settings()
    assert (plain.iterations, plain.rate, plain.momentum, plain.l2, plain.drop_every) == (5, 0.1, 0.9, 0.00025, 20_000)
    other = Recipe(pretraining=5, pretraining_rate=0.02, pretraining_momentum=0.0, pretraining_l2=0.0)
    assert (other.pretraining_settings().rate, other.pretraining_settings().momentum) == (0.02, 0.0)
    assert other.pretraining_settings().l2 == 0.0


@pytest.mark.parametrize("network", ["wrn-16-2", "resnet-20?k=2&activation=tanh", "mlp-3-tanh?width=20"])
def test_architecture_arguments_follow_the_name(network):
    from jacprobe.models import build

    name, arguments = Recipe(network=network, data="cifar-10").architecture()
    net = build(name, input_shape=(3, 32, 32), **arguments)
    assert net.jacprobe_spec["name"] == name
    assert arguments.items() <= net.jacprobe_spec["arguments"].items()


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"network": "mlp-9"}, UnknownNameError, "`network` must be one of mlp-3-linear.*got 'mlp-9'"),
        ({"data": "svhn"}, UnknownNameError, "`data` must be one of mnist.*got 'svhn'"),
        ({"init": "xavier"}, UnknownNameError, "`init` must be one of.*got 'xavier'"),
        ({"method": "snap"}, UnknownNameError, "`method` must be one of random.*Did you mean 'snip'"),
        ({"scored_on": "svhn"}, UnknownNameError, "`scored_on`"),
        ({"control": "mirrored"}, UnknownNameError, "`control` must be one of shuffled"),
        ({"repair": "sgd"}, UnknownNameError, "`repair` must be one of polar-cg"),
        ({"reinit": "xavier"}, UnknownNameError, "`reinit`"),
        ({"sparsity": 0.5}, ArgumentError, "`method` must be given with `sparsity` 0.5"),
        ({"method": "snip", "sparsity": 90}, ArgumentError, r"`sparsity` must lie in \[0, 1\]; got 90"),
        ({"seed": -1}, ArgumentError, "`seed` must be a whole number from 0 on, below .*got -1"),
        ({"seed": True}, ArgumentError, "`seed` must be a whole number"),
        ({"seed": 2**63}, ArgumentError, "`seed` must be a whole number from 0 on, below"),
        ({"method": "snip", "sparsity": "0.9"}, DtypeError, "`sparsity` must be a number; got '0.9'"),
        ({"method": "snip", "sparsity": True}, DtypeError, "`sparsity` must be a number; got True"),
        ({"init": {"sg": 1}}, UnknownNameError, "`init` must be one of orthogonal"),
        ({"init": "eoi"}, UnknownNameError, "`init` must be one of.*got 'eoi'"),
        ({"init": "sg"}, ArgumentError, "`gamma` must go with `init` 'sg'; got None with 'sg'"),
        ({"gamma": 2.0}, ArgumentError, "`gamma` must go with `init` 'sg'; got 2.0 with 'orthogonal'"),
        ({"init": "sg", "gamma": -1.0}, ArgumentError, "`gamma` must be positive and finite; got -1"),
        ({"reinit": "sg"}, UnknownNameError, "`reinit` must be one of.*got 'sg'"),
        ({"method": "snip", "score_loss": "label"}, UnknownNameError, "`score_loss` .*Did you mean 'labels'"),
        ({"method": "random", "score_loss": "uniform"}, ArgumentError, "`score_loss` must be left out with .method."),
        ({"method": "snip", "prunable": "all"}, UnknownNameError, "`prunable` must be one of weights, paper"),
        ({"method": "snip", "batch_norm": "off"}, UnknownNameError, "`batch_norm` must be one of paper, eval, train"),
        ({"method": "snip", "num_scored": -3}, ArgumentError, "`num_scored` must be a whole number of at least 1"),
        ({"pretraining": 1.5}, ArgumentError, "`pretraining` must be a whole number of at least 0; got 1.5"),
        ({"pretraining": 5, "pretraining_rate": 0}, ArgumentError, "`rate` must be a finite number above 0"),
        ({"repair": "polar-cg", "repair_steps": 0}, ArgumentError, "`repair_steps` must be a whole number"),
        ({"repair": "polar-cg", "objective": "spectral"}, ArgumentError, "`objective` must be one that .repair. 'pol"),
        ({"network": "mlp-3-tanh?depth=3"}, UnknownNameError, "`arguments of mlp-3-tanh`.*got 'depth'"),
        ({"network": "resnet-20?k=0", "data": "cifar-10"}, ArgumentError, "`k` must be an integer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_named(fields, error, match):
    with pytest.raises(error, match=match):
        Recipe(**fields)
