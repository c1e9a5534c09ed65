import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import DtypeError
from jacprobe.randomness import make_generator


def test_a_seed_and_a_generator_of_that_seed_draw_the_same():
    net = nn.Linear(20, 20)
    generator = torch.Generator().manual_seed(7)
    assert jp.prune(net, "random", sparsity=0.5, seed=7) == jp.prune(net, "random", sparsity=0.5, seed=generator)
    drawn = jp.initialize(net, "vs-l", seed=torch.Generator().manual_seed(3))
    assert torch.equal(drawn.weight, jp.initialize(net, "vs-l", seed=3).weight)


@pytest.mark.parametrize("seed", ["0", None, 1.0, True])
def test_anything_else_is_refused(seed):
    with pytest.raises(DtypeError, match=r"`seed` must be an integer or a torch\.Generator; got .*\. Pass a seed"):
        make_generator(seed)
