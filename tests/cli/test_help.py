"""What ``--help`` says, of every command there is."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from app.cli import main
from tests.cli.command import telerad


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command, groups included."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


ALL = list(commands(main))


def test_every_command_of_the_contract_is_there() -> None:
    promised = (
        "up serve listen work relay migrate doctor replay demo order/add order/list case/list "
        "case/show peer/add peer/list user/add token/add states verify train"
    )
    assert {tuple(name.split("/")) for name in promised.split()} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(path) or "telerad")
def test_help_says_what_the_command_and_each_option_is_for(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*path, "--help"], prog_name="telerad", terminal_width=80)

    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: {' '.join(['telerad', *path])}")
    assert "..." not in done.output.split("\n", 1)[1], "a summary is cut off"
    command: click.Command | None = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option)), (
        "an option without a word on it"
    )


def test_help_and_version_of_the_process() -> None:
    told = telerad("--help")
    version = telerad("--version")

    assert (told.returncode, told.stderr) == (0, "")
    assert "Commands:" in told.stdout
    assert (version.returncode, version.stderr) == (0, "")


def test_an_unknown_command_is_named() -> None:
    done = telerad("fly")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: No such command 'fly'."
