"""Downloads are checked by hash, retried and kept; here with a stand-in for the network."""

import hashlib
from pathlib import Path

import pooch
import pytest
import requests

from jacprobe.data import downloads, load_data
from jacprobe.errors import DataError

BASE = "https://ossci-datasets.s3.amazonaws.com/mnist/"


class Web(dict):
    """Contents by address, and the list of the addresses asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []


@pytest.fixture
def web(monkeypatch):
    """A stand-in for the network; asking for an unknown address fails as a broken connection does."""

    web = Web()

    def choose_downloader(url, progressbar=False):
        def fetch(url, output_file, store):
            web.asked.append(url)
            if url not in web:
                raise requests.exceptions.ConnectionError(f"a long\ntale about {url}")
            Path(output_file).write_bytes(web[url])

        return fetch

    monkeypatch.setattr("pooch.core.choose_downloader", choose_downloader)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    return web


@pytest.fixture
def small_mnist(web, write_mnist, tmp_path, monkeypatch):
    """A small MNIST on the web, its hashes known to the package."""
    write_mnist(tmp_path / "published")
    contents = {path.name: path.read_bytes() for path in (tmp_path / "published").iterdir()}
    web.update({BASE + name: content for name, content in contents.items()})
    hashes = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(downloads._SOURCES, "mnist", (BASE, hashes))
    return web


def test_files_are_downloaded_once_and_read_from_the_cache_then(small_mnist):
    first = load_data("mnist", split="test")
    assert len(first.images) == 7 and len(small_mnist.asked) == 4
    small_mnist.clear()
    for allowed in (True, False):
        assert load_data("mnist", split="test", download=allowed).images.equal(first.images)
    assert len(small_mnist.asked) == 4


def test_a_damaged_file_in_the_cache_is_fetched_again(small_mnist, tmp_path):
    first = load_data("mnist")
    path = downloads.cache_folder("mnist") / "train-images-idx3-ubyte.gz"
    assert path.is_relative_to(tmp_path)
    path.write_bytes(b"damaged")
    assert load_data("mnist").images.equal(first.images)


def test_the_folder_of_the_environment_comes_before_a_download(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("JACPROBE_DATA", str(tmp_path / "published"))
    assert len(load_data("mnist").images) == 12 and small_mnist.asked == []
    monkeypatch.setenv("JACPROBE_DATA", str(tmp_path / "nowhere"))
    assert len(load_data("mnist").images) == 12 and len(small_mnist.asked) == 4


def test_a_given_root_is_the_only_place_and_nothing_is_downloaded(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("JACPROBE_DATA", str(tmp_path / "published"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="`root` must hold mnist; .*empty' has no .*name no folder to have them down"):
        load_data("mnist", root=tmp_path / "empty")
    assert small_mnist.asked == []


def test_without_leave_to_download_the_places_searched_are_named(web, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="`JACPROBE_DATA` or the cache must hold mnist; '.*cache/.*mnist' has no"):
        load_data("mnist", download=False)
    monkeypatch.setenv("JACPROBE_DATA", str(tmp_path / "env"))
    with pytest.raises(DataError, match="env' or '.*cache/.*mnist' has no .* Allow the download"):
        load_data("mnist", download=False)
    assert web.asked == []


def test_a_wrong_hash_is_refused_after_three_tries_and_nothing_is_kept(web):
    address = BASE + "train-images-idx3-ubyte.gz"
    web[address] = b"something else"
    with pytest.raises(DataError, match="must have the MD5 sum f68b3c2dcbeaaa9fbdd348bbdeb94873; .* another") as caught:
        load_data("mnist")
    assert web.asked == [address] * 3
    assert not any(downloads.cache_folder("mnist").iterdir())
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar-10"])
def test_a_failed_connection_is_one_line(web, capfd, name):
    with pytest.raises(
        DataError, match=f"`{name}` must be downloaded to .* failed for http.*: ConnectionError"
    ) as caught:
        load_data(name, progress=True)
    assert "\n" not in str(caught.value) and caught.value.__suppress_context__
    assert capfd.readouterr() == ("", "")


def test_a_cache_that_cannot_be_written_is_one_line(web, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="`mnist` must be downloaded to .*: (Not a directory|File exists)"):
        load_data("mnist")


def test_the_logger_of_pooch_is_left_as_it_was(small_mnist):
    level = pooch.get_logger().level
    load_data("mnist")
    assert pooch.get_logger().level == level


def test_every_download_has_an_md5_sum():
    hashes = [md5 for _, files in downloads._SOURCES.values() for md5 in files.values()]
    assert len(hashes) == len(set(hashes)) == 9 and all(len(md5) == 32 and int(md5, 16) for md5 in hashes)
