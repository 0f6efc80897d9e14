"""The table of the standard's UIDs is what the toolkits say."""

from tools.make_registry import TARGET, registry


def test_the_table_is_that_of_the_toolkits():
    assert TARGET.read_text() == registry(), "run: python -m tools.make_registry"
