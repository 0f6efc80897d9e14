"""The ``telerad`` command.

Each command is imported when it is called, so that ``telerad --help`` and small commands answer
at once.  What the engine refuses is one sentence on standard error and exit status 1.
"""

from importlib import import_module

import click
import structlog

from app.refusal import sentence_of
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
    "study": "app.cli.studies",
    "retention": "app.cli.retention",
    "import": "app.cli.imports",
    "peer": "app.cli.peers",
    "orthanc": "app.cli.orthanc",
    "fetch": "app.cli.moving",
    "send": "app.cli.moving",
    "user": "app.cli.entries",
    "token": "app.cli.entries",
    "network": "app.cli.network",
    "patient": "app.cli.patients",
    "correction": "app.cli.corrections",
    "doctor": "app.cli.care",
    "replay": "app.cli.care",
    "states": "app.cli.care",
    "train": "app.cli.care",
    "verify": "app.cli.care",
    "demo": "app.cli.demo",
}
_NAMES = {"import": "import_"}  # a word of Python
_SERVING = frozenset({"up", "serve", "listen", "relay", "work"})

log = structlog.get_logger()


class _Telerad(click.Group):
    """Finds a command's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _WHERE:
            return None
        command: click.Command = getattr(
            import_module(_WHERE[cmd_name]), _NAMES.get(cmd_name, cmd_name)
        )
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.ClickException:
            raise
        except (EngineError, OSError) as error:
            raise click.ClickException(sentence_of(error) or "") from error
        except RuntimeError:
            raise  # click's own ways out (Exit, Abort) are of this kind
        except Exception as error:
            if ctx.params["traceback"]:
                raise
            if ctx.invoked_subcommand in _SERVING:  # a log is read later, by somebody else
                log.exception("telerad.failed")
            raise click.ClickException(
                f"this failed in a way nobody foresaw ({type(error).__name__}); "
                f"'telerad --traceback {ctx.invoked_subcommand} …' shows where"
            ) from error


@click.group(
    cls=_Telerad,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--traceback", is_flag=True, help="Show where it failed if nobody foresaw it.")
@click.version_option(package_name="telerad")
def main(traceback: bool) -> None:
    """The open teleradiology and diagnostics workflow engine.

    'telerad up' serves everything on one machine; 'telerad demo' sends one study through all of
    it and ends.  Every command that needs state takes --data DIR.
    """
