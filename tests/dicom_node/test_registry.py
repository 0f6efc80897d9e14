"""The tables of the standard's UIDs and attributes are what the toolkits say."""

from tools.make_registry import DICTIONARY, TARGET, dictionary, registry


def test_the_table_is_that_of_the_toolkits():
    assert TARGET.read_text() == registry(), "run: python -m tools.make_registry"


def test_the_dictionary_is_that_of_the_toolkit():
    assert DICTIONARY.read_text() == dictionary(), "run: python -m tools.make_registry"
