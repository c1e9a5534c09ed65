"""One entry to all data: names, numbers, seeds and splits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from jacprobe.data import Data, data_names, load_data
from jacprobe.data.pixels import channel_statistics
from jacprobe.errors import ArgumentError, UnknownNameError


def test_digits_are_split_in_file_order_and_standardised_by_the_train_split():
    source = load_digits()
    mean, std = source.data[:1437].mean(), source.data[:1437].std()
    for split, part in (("train", slice(1437)), ("test", slice(1437, None))):
        images, labels = load_data("digits", split=split)
        expected = (source.images[part, None] - mean) / std
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        np.testing.assert_allclose(images.numpy(), expected, atol=1e-6, rtol=0)
        assert labels.tolist() == source.target[part].tolist()


def test_the_number_takes_the_first_samples():
    images, labels = load_data("digits")
    few = load_data("digits", num=3)
    assert isinstance(few, Data)
    assert few.images.equal(images[:3]) and few.labels.equal(labels[:3])


def test_a_seed_takes_a_random_subset_without_replacement_and_leaves_the_global_state():
    images, labels = load_data("digits")
    before = torch.random.get_rng_state()
    drawn = load_data("digits", num=200, seed=1)
    assert torch.random.get_rng_state().equal(before)
    where = {image.numpy().tobytes(): index for index, image in enumerate(images)}
    indices = [where[image.numpy().tobytes()] for image in drawn.images]
    assert len(set(indices)) == 200 and max(indices) > 1000
    assert drawn.labels.equal(labels[indices])
    assert load_data("digits", num=200, seed=1).images.equal(drawn.images)
    assert not load_data("digits", num=200, seed=2).images.equal(drawn.images)


def test_random_images_are_standard_normal_and_follow_the_seed():
    images, labels = load_data("random", input_shape=(3, 8, 8), num=500)
    assert labels is None and images.shape == (500, 3, 8, 8) and images.dtype == torch.float32
    error = 4 / images.numel() ** 0.5
    assert abs(images.mean().item()) < error and abs(images.var().item() - 1) < 2**0.5 * error
    assert load_data("random", input_shape=(3, 8, 8), num=500, seed=0).images.equal(images)
    assert not load_data("random", input_shape=(3, 8, 8), num=500, seed=1).images.equal(images)
    assert len(load_data("random", input_shape=[4]).images) == 100


def test_statistics_are_those_of_numpy_in_float64_also_across_chunks():
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 2, 3), np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 2, 3), dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(std, images.std((0, 2, 3), dtype=np.float64), rtol=1e-13)


def test_every_name_is_known_by_the_unknown_name_error():
    with pytest.raises(UnknownNameError, match=r"`data` must be one of digits, .*got 'minst'\. Did you mean 'mnist'"):
        load_data("minst")
    with pytest.raises(UnknownNameError, match=f"{', '.join(data_names())}; .* A file must end in .npy, .npz, .pt or"):
        load_data("images.txt")
    with pytest.raises(UnknownNameError, match="got 5"):
        load_data(5)


@pytest.mark.parametrize("num", [0, -1])
def test_zero_samples_are_refused(num):
    with pytest.raises(ArgumentError, match=f"`num` must be a whole number of at least 1; got {num}. Zero samples"):
        load_data("digits", num=num)


@pytest.mark.parametrize("num", [2.0, True, "3"])
def test_a_number_that_is_not_whole_is_refused(num):
    with pytest.raises(ArgumentError, match="`num` must be a whole number"):
        load_data("digits", num=num)


def test_more_samples_than_there_are_is_refused_with_both_numbers():
    assert len(load_data("digits", split="test", num=360).images) == 360
    for seed in (None, 0):
        with pytest.raises(ArgumentError, match="`num` must be at most the 360 samples there are; got 361"):
            load_data("digits", split="test", num=361, seed=seed)


@pytest.mark.parametrize("seed", [-1, 0.5, 2**63])
def test_a_seed_out_of_its_domain_is_refused(seed):
    with pytest.raises(ArgumentError, match="`seed` must be a whole number of at least 0; got"):
        load_data("digits", seed=seed)


def test_a_split_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="`split` must be one of train, test; got 'valid'"):
        load_data("digits", split="valid")
    for name in ("random", tmp_path / "images.npy"):
        with pytest.raises(ArgumentError, match="`split` must be 'train' for random data and array files; got 'test'"):
            load_data(name, split="test")


def test_random_data_need_a_shape():
    with pytest.raises(ArgumentError, match='`input_shape` must be given for "random"; got None'):
        load_data("random")


@pytest.mark.parametrize("shape", [(), (0, 3), (2.5,), 5])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(ArgumentError, match="`input_shape` must hold positive whole numbers; got"):
        load_data("random", input_shape=shape)
