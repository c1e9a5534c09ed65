import pickle

import pytest

from jacprobe import errors
from jacprobe.errors import JacprobeError, UnknownNameError

BUILTINS = {
    "ArgumentError": ValueError,
    "ShapeError": ValueError,
    "DtypeError": TypeError,
    "NonFiniteError": ValueError,
    "UnknownNameError": ValueError,
    "ModelError": ValueError,
    "CheckpointError": OSError,
    "UntrustedFileError": OSError,
    "DataError": OSError,
    "OutputError": OSError,
    "BudgetError": MemoryError,
    "ClusterError": ConnectionError,
}


def test_every_error_is_in_the_table():
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == {"JacprobeError", "JacprobeWarning", *BUILTINS}


def test_a_warning_is_a_user_warning_and_no_error():
    assert issubclass(errors.JacprobeWarning, UserWarning)
    assert not issubclass(errors.JacprobeWarning, JacprobeError)


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items(), ids=BUILTINS)
def test_every_error_is_also_a_builtin_one(name, builtin):
    assert issubclass(getattr(errors, name), (JacprobeError,))
    assert issubclass(getattr(errors, name), builtin)


@pytest.mark.parametrize("name", sorted(set(BUILTINS) - {"UnknownNameError"}))
def test_an_error_says_its_text_and_survives_pickle(name):
    error = getattr(errors, name)("`x` must be 1; got 2. Take 1.")
    assert str(error) == "`x` must be 1; got 2. Take 1."
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == str(error)


def test_an_unknown_name_lists_the_valid_ones_and_the_cure():
    error = UnknownNameError("method", "tea", (name for name in ["snip", "random"]), "Or pass a callable.")
    assert str(error) == "`method` must be one of snip, random; got 'tea'. Or pass a callable."


def test_a_misspelt_name_is_guessed():
    assert str(UnknownNameError("method", "snap", ["snip", "random"])).endswith("got 'snap'. Did you mean 'snip'?")


def test_a_name_that_is_no_string_is_shown_as_it_is():
    assert str(UnknownNameError("method", 3, ["snip"])) == "`method` must be one of snip; got 3."


def test_of_many_names_fifty_are_listed():
    text = str(UnknownNameError("layer", "z", [f"fc{number}" for number in range(53)]))
    assert "fc49 and 3 more; got 'z'." in text
    assert "fc50" not in text


def test_an_unknown_name_is_one_line_even_where_the_name_is_not():
    assert "\n" not in str(UnknownNameError("layer", "a\nb", ["fc1"]))


def test_an_unknown_name_survives_pickle_as_between_workers():
    error = UnknownNameError("method", "snap", ["snip", "random"], "Or pass a callable.")
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is UnknownNameError
    assert str(copied) == str(error)
