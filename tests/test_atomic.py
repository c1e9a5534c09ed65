import errno
import os
import stat
import sys

import pytest

from jacprobe import atomic
from jacprobe.atomic import atomic_path, check_output
from jacprobe.errors import DataError, DtypeError, OutputError


def write(path, text="new", **options):
    with atomic_path(path, **options) as temporary:
        temporary.write_text(text)


def test_the_file_appears_whole_and_alone(tmp_path):
    write(tmp_path / "a.json")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "new"


def test_a_path_may_be_a_string_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.txt")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_the_temporary_path_lies_beside_the_file_and_has_its_suffix(tmp_path):
    with atomic_path(tmp_path / "a.npz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        assert temporary.name.startswith(".")
        assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
def test_an_interrupted_block_leaves_nothing_behind(tmp_path, interruption, overwrite):
    path = tmp_path / "a.txt"
    if overwrite:
        path.write_text("old")

    def fail():
        with atomic_path(path, overwrite=overwrite) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        fail()
    assert [p.read_text() for p in tmp_path.iterdir()] == (["old"] if overwrite else [])


def test_a_failed_write_says_why_and_leaves_nothing_behind(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"a\.txt` could not be written: No space left on device\."):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_block_that_removes_its_temporary_file_is_told(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.unlink()

    with pytest.raises(OutputError, match="could not be written: No such file or directory"):
        fail()


def test_an_error_about_something_else_passes_as_it_is(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt"):
            raise DataError("`images.npy` must be an array file.")

    with pytest.raises(DataError, match=r"images\.npy"):
        fail()


def test_an_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OutputError, match=r"must not exist yet\. Choose another name, or pass overwrite=True"):
        write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_overwriting_replaces_the_whole_file(tmp_path):
    (tmp_path / "a.txt").write_text("old and much longer")
    write(tmp_path / "a.txt", overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_overwriting_works_where_nothing_is(tmp_path):
    write(tmp_path / "a.txt", overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "a.txt"

    def race():
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            path.write_text("of somebody else")

    with pytest.raises(OutputError, match="must not exist yet; it appeared while the result was computed"):
        race()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["of somebody else"]


def test_a_file_system_without_hard_links_works_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(atomic.os, "link", refuse)
    write(tmp_path / "a.txt")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_is_no_file(tmp_path, overwrite):
    with pytest.raises(OutputError, match=r"must name a file; it is a folder\. Add a file name"):
        check_output(tmp_path, overwrite=overwrite)


def test_an_empty_path_is_the_current_folder():
    with pytest.raises(OutputError, match="it is a folder"):
        check_output("")


@pytest.mark.parametrize("path", [3, None, b"file.txt"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(DtypeError, match="`path` must be a string or a path; got "):
        check_output(path)


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(OutputError, match=r"must lie in an existing folder; '.*missing' is none\. Create it first"):
        check_output(tmp_path / "missing" / "a.txt")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"must lie in an existing folder; '.*file' is none"):
        check_output(tmp_path / "file" / "a.txt")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that even root cannot write to")
def test_an_unwritable_folder_is_refused_before_any_work():
    with pytest.raises(OutputError, match=r"`/proc` must be writable; got .+\. Choose another folder"):
        check_output("/proc/a.txt")


@pytest.mark.skipif(sys.platform == "win32", reason="no device files")
def test_a_device_is_never_replaced():
    with pytest.raises(OutputError, match="must name a regular file; it is a device or a pipe"):
        check_output(os.devnull, overwrite=True)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["too long", "a null character"])
def test_a_name_that_no_file_can_have_is_refused_before_any_work(tmp_path, name):
    with pytest.raises(OutputError, match=r"must be a path that can be looked up; got .+\. Choose another"):
        check_output(tmp_path / name)


def test_a_name_as_long_as_the_file_system_allows_works(tmp_path):
    write(tmp_path / ("x" * 251 + ".txt"))
    assert [len(p.name) for p in tmp_path.iterdir()] == [255]


def test_checking_an_output_leaves_no_trace(tmp_path):
    assert check_output(str(tmp_path / "a.txt")) == tmp_path / "a.txt"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("overwrite", [False, True])
def test_permissions_follow_the_umask_and_leave_it_alone(tmp_path, umask, overwrite):
    before = os.umask(umask)
    try:
        write(tmp_path / "a.txt", overwrite=overwrite)
        assert atomic._umask() == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_a_dangling_link_exists(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match=r"must not exist yet\. Choose another name"):
        check_output(tmp_path / "link")


def test_overwriting_a_link_replaces_the_link_and_keeps_its_target(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write(tmp_path / "link", overwrite=True)
    assert not (tmp_path / "link").is_symlink()
    assert ((tmp_path / "link").read_text(), (tmp_path / "target").read_text()) == ("new", "old")


def test_a_link_to_a_folder_is_a_folder_to_write_in(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    write(tmp_path / "link" / "a.txt")
    assert (tmp_path / "folder" / "a.txt").read_text() == "new"
