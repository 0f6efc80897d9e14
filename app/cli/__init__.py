"""The ``telerad`` command.

Each command is imported when it is called, so that ``telerad --help`` and small commands answer
at once.  What the engine refuses is one sentence on standard error and exit status 1.
"""

from importlib import import_module

import click

from kernel.errors import EngineError

_WHERE = {
    "up": "app.cli.serve",
    "serve": "app.cli.serve",
    "listen": "app.cli.serve",
    "relay": "app.cli.serve",
    "work": "app.cli.serve",
    "migrate": "app.cli.serve",
    "order": "app.cli.entries",
    "case": "app.cli.entries",
    "peer": "app.cli.entries",
    "user": "app.cli.entries",
    "token": "app.cli.entries",
    "doctor": "app.cli.care",
    "replay": "app.cli.care",
    "states": "app.cli.care",
    "train": "app.cli.care",
    "verify": "app.cli.care",
    "demo": "app.cli.demo",
}


class _Telerad(click.Group):
    """Finds a command's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _WHERE:
            return None
        command: click.Command = getattr(import_module(_WHERE[cmd_name]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EngineError as error:
            clause = f" ({error.clause})" if error.clause else ""
            raise click.ClickException(f"{error.sentence}{clause}") from error


@click.group(
    cls=_Telerad,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="telerad")
def main() -> None:
    """The open teleradiology and diagnostics workflow engine.

    'telerad up' serves everything on one machine; 'telerad demo' sends one study through all of
    it and ends.  Every command that needs state takes --data DIR.
    """
