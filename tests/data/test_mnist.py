"""MNIST and Fashion-MNIST are found in every usual layout, and never taken for each other."""

import numpy as np
import pytest
import torch

from jacprobe.data import load_data
from jacprobe.errors import DataError

LAYOUTS = [
    *(("mnist", folder) for folder in ("mnist", "MNIST/raw", "MNIST", ".")),
    *(("fashion-mnist", folder) for folder in ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "fashion", ".")),
]


@pytest.mark.parametrize("name, folder", LAYOUTS)
@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_test_split_is_standardised_by_the_train_split_in_every_layout(
    tmp_path, write_mnist, images, name, folder, joint, suffix
):
    write_mnist(tmp_path / folder, joint, suffix)
    got, labels = load_data(name, split="test", root=tmp_path)
    train = images["train"].astype(np.float64)
    expected = (images["t10k"][:, None] - train.mean()) / train.std()
    assert got.dtype == torch.float32 and got.shape == (7, 1, 4, 5)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6, rtol=0)
    assert labels.dtype == torch.int64 and labels.tolist() == list(range(7))


def test_the_train_split_has_mean_zero_and_deviation_one(tmp_path, write_mnist):
    write_mnist(tmp_path)
    got, labels = load_data("mnist", root=tmp_path)
    assert abs(got.double().mean().item()) < 1e-6
    assert abs(got.double().std(correction=0).item() - 1) < 1e-6
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize("asked, held", [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")])
def test_one_set_is_never_taken_for_the_other(tmp_path, write_idx, asked, held):
    total = {"mnist": 1_567_298_545, "fashion-mnist": 3_431_114_169}[held]  # of the pixels published for each
    pixels = np.zeros(28 * 28 * (total // 255 // 784 + 1), np.uint8)
    pixels[: total // 255] = 255
    pixels[total // 255] = total % 255
    pixels = pixels.reshape(-1, 28, 28)
    write_idx(tmp_path / "train-images-idx3-ubyte", pixels)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(len(pixels)))
    with pytest.raises(DataError, match=f"must hold {asked}; its images are those of {held}"):
        load_data(asked, root=tmp_path, num=1)
    assert len(load_data(held, root=tmp_path, num=1).images) == 1


def test_missing_files_are_named_with_the_folders_searched(tmp_path, write_mnist):
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    expected = (
        rf"`root` must hold mnist; '{tmp_path}' has no train-images-idx3-ubyte\[.gz\], train-labels-idx1-ubyte\[.gz\],"
        r" t10k-images-idx3-ubyte\[.gz\], t10k-labels-idx1-ubyte\[.gz\] in it or in its mnist, MNIST/raw, MNIST\."
    )
    with pytest.raises(DataError, match=expected):
        load_data("mnist", split="test", root=tmp_path)
    assert len(load_data("mnist", root=tmp_path).images) == 12  # the train split needs no more


def test_images_and_labels_that_do_not_fit_are_refused(tmp_path, write_mnist, write_idx):
    write_mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    write_idx(labels, np.zeros(11))
    with pytest.raises(DataError, match="one label per image; got 12 images and 11 labels"):
        load_data("mnist", root=tmp_path)
    write_idx(labels, [10] + 11 * [0])
    with pytest.raises(DataError, match="labels from 0 to 9; got 10"):
        load_data("mnist", root=tmp_path)
    write_idx(labels, np.zeros((0,)))
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((0, 4, 5)))
    with pytest.raises(DataError, match=r"at least one image; got shape \(0, 1, 4, 5\)"):
        load_data("mnist", root=tmp_path)
    write_idx(labels, [1])
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.full((1, 4, 5), 7))
    with pytest.raises(DataError, match="`mnist` must vary in every channel"):
        load_data("mnist", root=tmp_path)


@pytest.mark.data
def test_real_mnist_has_its_published_size_labels_and_statistics(data_root):
    images, labels = load_data("mnist", root=data_root)
    assert images.shape == (60000, 1, 28, 28) and labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert torch.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    black, white = images.min().item(), images.max().item()
    assert round(-black / (white - black), 4) == 0.1307
    assert round(1 / (white - black), 4) == 0.3081


@pytest.mark.data
def test_real_mnist_test_split_keeps_the_training_scale(data_root):
    images, labels = load_data("mnist", root=data_root, split="test")
    assert images.shape == (10000, 1, 28, 28) and labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert abs(images.min().item() + 0.4241) < 1e-4  # the background, -0.1307 / 0.3081
    assert abs(images.double().mean().item() - (33.791224489795916 - 33.318421449829934) / 78.56748998339798) < 1e-6


@pytest.mark.data
def test_real_mnist_is_not_taken_for_fashion(data_root):
    with pytest.raises(DataError, match="must hold fashion-mnist; its images are those of mnist"):
        load_data("fashion-mnist", root=data_root / "mnist")
