import numpy as np
import pytest
import torch

from jacprobe.training.augmentation import AUGMENTATIONS, augmented, crop_padded, flipped, translated


def pictures(num=400, size=12, channels=2):
    return torch.rand(num, channels, size, size, generator=torch.Generator().manual_seed(0)) + 1


def draw(function, images, seed=0):
    return function(images, torch.Generator().manual_seed(seed))


def shifted(image, down, right):
    """The oracle: an image moved by whole pixels, zeros coming in."""
    padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)))
    height, width = image.shape[1:]
    return torch.from_numpy(padded[:, 4 - down : 4 - down + height, 4 - right : 4 - right + width])


def test_half_of_the_images_are_mirrored_and_the_others_as_they_were():
    images = pictures()
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(draw(flipped, images), images, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(draw(flipped, images), images, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert abs(sum(mirrored) - 200) < 60


def test_each_image_is_shifted_by_whole_pixels_up_to_four():
    images = pictures(200)
    found = []
    for new, old in zip(draw(translated, images), images, strict=True):
        fits = [(down, right) for down in range(-4, 5) for right in range(-4, 5)
                if torch.equal(new, shifted(old, down, right))]
        assert len(fits) == 1
        found += fits
    assert {down for down, _ in found} == {right for _, right in found} == set(range(-4, 5))


def test_crops_and_pads_resample_the_window_between_their_sides():
    size = 32
    ramp = np.arange(1.0, size + 1)
    sides = [(first, last) for first in range(-8, 9) for last in range(-8, 9)]
    known, positions = np.pad(ramp, 20), np.arange(-20, size + 20)  # the oracle: linear between pixels, zeros outside
    centres = [first + (np.arange(size) + 0.5) * (size - first - last) / size - 0.5 for first, last in sides]
    profiles = torch.tensor(np.array([np.interp(centre, positions, known) for centre in centres]))
    image = torch.from_numpy(np.array([np.tile(ramp, (size, 1)), np.tile(ramp, (size, 1)).T]))
    found = []
    for columns, rows in draw(crop_padded, image.expand(300, 2, size, size).contiguous()):
        for profile in (columns[16], rows[:, 16]):  # which is inside of every window
            fits = ((profiles - profile).abs().amax(1) < 1e-9).nonzero().flatten().tolist()
            assert len(fits) == 1
            found += [sides[index] for index in fits]
    assert {first for first, _ in found} == {last for _, last in found} == set(range(-8, 9))


def test_what_a_pad_brings_in_is_zero():
    images = torch.ones(200, 1, 20, 20)
    found = draw(crop_padded, images)
    assert float(found.min()) == 0 and float(found.max()) == pytest.approx(1)


def test_the_number_of_changes_is_uniform_and_so_is_their_choice(monkeypatch):
    for factor, name in enumerate(AUGMENTATIONS):  # the changes become marks of the image
        monkeypatch.setitem(AUGMENTATIONS, name, lambda images, generator, add=10**factor: images + add)
    marks = augmented(torch.zeros(40_000, 1, 1, 1), ("flip", "translate", "crop-pad"), torch.Generator().manual_seed(0))
    digits = torch.stack([marks.flatten() // 10**k % 10 for k in range(3)])
    counts = torch.bincount(digits.sum(0).long(), minlength=4)
    assert (counts - 10_000).abs().max() < 450
    assert (digits.sum(1) - 20_000).abs().max() < 500


def test_the_same_generator_gives_the_same_images_and_the_given_ones_stay():
    images = pictures(50)
    before = images.clone()
    names = tuple(AUGMENTATIONS)
    first, again, other = (augmented(images, names, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(images, before) and first.shape == images.shape


def test_no_kind_changes_nothing():
    assert torch.equal(augmented(pictures(3), (), torch.Generator()), pictures(3))
