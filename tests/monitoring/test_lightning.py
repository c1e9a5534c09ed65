"""The callback of Lightning, where that is installed, and the error where it is not."""

import pickle
import sys

import pytest
import torch
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe import monitoring
from jacprobe.errors import ArgumentError
from jacprobe.monitoring.lightningcallback import lightning_monitor

INPUTS = seeded_normal(3, 4)


def fitted(callback, max_steps=6, **arguments):
    """Train a small module with the callback and return it."""
    lightning = pytest.importorskip("lightning.pytorch")

    class Small(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, number):
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Small()
    callback = callback(module) if callable(callback) else callback
    trainer = lightning.Trainer(max_steps=max_steps, callbacks=[callback], accelerator="cpu", logger=False,
                                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                                **arguments)
    trainer.fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(seeded_normal(64, 4)), 4))
    return module, callback


@pytest.mark.filterwarnings("ignore")  # of Lightning: few workers, deprecated internals
def test_a_ready_monitor_follows_the_steps_of_the_trainer():
    module, callback = fitted(lambda module: jp.Monitor(module.net, INPUTS, every=2, max_share=None).callback())
    assert callback.monitor.frame()["step"].unique().tolist() == [0, 2, 4, 6]
    fresh = jp.spectra(module.net, INPUTS, kind="layers")
    last = callback.monitor.frame().query("step == 6 and statistic == 'mean'")["value"].tolist()
    assert last == [fresh[name].mean for name in fresh.layers]


@pytest.mark.filterwarnings("ignore")
def test_gradients_that_accumulate_are_one_step():
    pytest.importorskip("lightning.pytorch")
    callback = monitoring.LightningMonitor(INPUTS, model=lambda module: module.net, every=1, max_share=None)
    fitted(callback, max_steps=3, accumulate_grad_batches=2)
    assert callback.monitor.frame()["step"].unique().tolist() == [0, 1, 2, 3]
    assert callback.monitor.frame()["segment"].unique().tolist() == ["0", "2"]


@pytest.mark.filterwarnings("ignore")
def test_the_callback_is_one_of_lightning_and_can_be_pickled():
    lightning = pytest.importorskip("lightning.pytorch")
    callback = monitoring.LightningMonitor(INPUTS)
    assert isinstance(callback, lightning.Callback)
    assert isinstance(pickle.loads(pickle.dumps(callback)), monitoring.LightningMonitor)
    with pytest.raises(ArgumentError, match="`inputs` must be given, or `monitor`; got neither"):
        monitoring.LightningMonitor()


def test_a_missing_package_is_named(monkeypatch):
    for name in ("lightning", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    lightning_monitor.cache_clear()
    with pytest.raises(ArgumentError, match="`lightning` must be installed .* pip install lightning"):
        jp.Monitor(nn.Linear(4, 2), INPUTS).callback()
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = monitoring.no_such_name
