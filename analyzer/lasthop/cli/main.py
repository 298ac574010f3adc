"""The command `lasthop`: verbs, and what becomes of every way in which they can end.

Exit codes: 0 no break, 1 break or partial, 2 wrong usage or no readable bundle, 3 not enough evidence, 4 a defect of
lasthop itself, 130 interrupted. Nothing heavy is imported here: `lasthop --help` has to answer at once.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

import lasthop
from lasthop.errors import LasthopError

from . import analyze, collector, explain, ls, output, path, rules, show

EXIT_DEFECT = 4
EXIT_INTERRUPTED = 130
_HELP = """Where did the packet die? Reads evidence bundles of Kubernetes nodes with Calico, offline.

Collect on each node: lasthop collector > collector.sh; sh collector.sh --pod NS/NAME --peer NS/NAME --capture 20

Then: lasthop analyze *.tar.gz --from NS/POD --to NS/POD:PORT
"""

app = typer.Typer(
    name="lasthop",
    help=_HELP,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("analyze", short_help="Say where the packet dies, why, and what to change.")(analyze.analyze)
app.command("path", short_help="Walk one flow, both ways, stage by stage.")(path.path)
app.command("ls", short_help="List what the bundle holds and what is missing.")(ls.ls)
app.command("show", short_help="Print facts with file and line.")(show.show)
app.add_typer(rules.app, name="rules", short_help="List, explain, test and lint rules.")
app.command("explain", short_help="Explain a code, a rule, or the model.")(explain.explain)
app.command("collector", short_help="Print the matching collector.sh.")(collector.collector)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"lasthop {lasthop.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when lasthop itself fails.")] = False,
) -> None:
    """Options that stand before the verb."""


def run() -> None:
    """Runs the command line of this process and exits with the code that the module's text lists."""
    # A run makes 100,000s of objects, keeps nearly all of them and ends: looking for cycles every 700 new ones is a
    # tenth of its time.
    gc.set_threshold(100_000, 20, 50)
    debug = "--debug" in sys.argv[1:]
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    sys.exit(guarded(arguments, debug=debug))


def guarded(arguments: list[str], *, debug: bool = False) -> int:
    """The exit code of `lasthop ARGUMENTS`; every error has become a sentence on stderr."""
    try:
        code = app(args=arguments, prog_name="lasthop", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        show = getattr(error, "show", None)
        if show is None:
            _say(str(error))
        else:
            show()
        return int(getattr(error, "exit_code", 2))
    except LasthopError as error:
        _say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return output.leave()
    except RecursionError as error:
        return _defect(error, debug)
    except Exception as error:  # the last guard: a defect becomes a sentence that says how to report it
        return _defect(error, debug)


def _defect(error: BaseException, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" ({os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno})"
    text = " ".join(str(error).split())[:200]
    _say(
        f"internal error: {type(error).__name__}: {text}{place}\n"
        f"This is a defect of lasthop {lasthop.__version__}, not of your bundle. Please report it with the output of "
        "the same command and --debug."
    )
    return EXIT_DEFECT


def _say(text: str) -> None:
    from lasthop.report.text import visible

    shown = "\n".join(visible(line) for line in text.split("\n"))
    print(f"lasthop: {shown}", file=sys.stderr)
