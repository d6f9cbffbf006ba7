"""The verbs: one short function each, which imports what does the work.

``run`` is the one place where exceptions become exit codes. ``bench`` and ``demo`` hand their arguments on untouched:
the harness has options of its own, and is the only thing above ``gateway`` that this package reaches.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from gateway.cli.ends import EXIT_FAILED, EXIT_USAGE, Failed
from gateway.cli.flags import CacheDirectory, ConfigFile, Further, Quota, ServerPort, Upstream, Workers, load_flags
from gateway.lean import lean_imports
from gateway.sources import BadSetting

_PASS_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    name="forebay",
    help="An S3-compatible caching object gateway for GPU clusters.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's) and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given or ["--help"], prog_name="forebay", standalone_mode=False)
    except BadSetting as error:
        return _complain(str(error), EXIT_USAGE)
    except Failed as error:
        return _complain(str(error), EXIT_FAILED)
    except typer.TyperException as error:
        return _complain(f"{error.format_message()} (forebay --help tells more)", error.exit_code)
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"forebay: {' '.join(text.split())}\n")
    return code


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - slow to import

        typer.echo(f"forebay {version('forebay')}")
        raise typer.Exit


@app.callback()
def _forebay(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(  # noqa: PLR0913 - one parameter per flag
    *,
    config: ConfigFile = None,
    upstream: Upstream = None,
    port: ServerPort = None,
    workers: Workers = None,
    cache_dir: CacheDirectory = None,
    quota: Quota = None,
    further: Further = None,
) -> int:
    """Run a node. `forebay serve --upstream URL` is enough for one."""
    settings = load_flags(config, (upstream, port, workers, cache_dir, quota), further).settings
    if not settings.upstream.endpoint:
        raise BadSetting("upstream.endpoint", "no upstream is named", "give --upstream URL or set it in the TOML file")
    with lean_imports(without="rich"):  # structlog would import it for tracebacks in colour; a node logs JSON
        _check_identities(settings.identities.file)
        from gateway.node import run_node  # noqa: PLC0415 - the whole server

    return run_node(settings)


def _check_identities(path: str) -> None:
    from gateway.identities import IdentitiesError, load_identities  # noqa: PLC0415 - serve alone needs it

    if os.path.exists(path):
        try:
            load_identities(path)
        except IdentitiesError as error:
            raise BadSetting("identities.file", str(error), "correct the file, or name another") from error


@app.command()
def status(
    admin: Annotated[str, typer.Option("--admin", help="A node's admin address.")] = "http://127.0.0.1:9100",
    *,
    cluster: Annotated[bool, typer.Option("--cluster", help="Sum all nodes of the cluster.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the document.")] = False,
    watch: Annotated[
        float | None, typer.Option("--watch", min=0.1, metavar="S", help="Repeat every S seconds.")
    ] = None,
) -> int:
    """Show who gets how much from a node, and what holds them back."""
    from gateway.cli.status import status as show_status  # noqa: PLC0415 - its verb alone needs it

    return show_status(admin, cluster=cluster, as_json=as_json, watch_s=watch)


@app.command("config")
def show_config(  # noqa: PLR0913 - one parameter per flag
    *,
    config: ConfigFile = None,
    upstream: Upstream = None,
    port: ServerPort = None,
    workers: Workers = None,
    cache_dir: CacheDirectory = None,
    quota: Quota = None,
    further: Further = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting with its origin; secrets are masked."""
    from gateway.cli import show  # noqa: PLC0415 - its verb alone needs it

    loaded = load_flags(config, (upstream, port, workers, cache_dir, quota), further)
    if as_json:
        typer.echo(show.as_json(loaded))
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import

    Console(width=None if sys.stdout.isatty() else 200).print(show.as_table(loaded))


@app.command(context_settings=_PASS_ON)
def bench(context: typer.Context) -> int:
    """Measure an S3 endpoint (`forebay bench --help` tells more)."""
    from bench.command import main  # noqa: PLC0415 - the one way up into the harness

    return main(context.args)


@app.command(context_settings=_PASS_ON)
def demo(context: typer.Context) -> int:
    """Show a whole cluster at work on this machine (`forebay demo --help` tells more)."""
    from bench.demo import main  # noqa: PLC0415 - the one way up into the harness

    return main(context.args)


@app.command()
def warm(
    source: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]", help="What to read through the gateway.")],
    endpoint: Annotated[str, typer.Option("--endpoint", help="The gateway.")] = "http://127.0.0.1:9000",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=1024, help="Objects read at once.")] = 16,
    access_key: Annotated[
        str | None, typer.Option("--access-key", help="Access key; its secret is AWS_SECRET_ACCESS_KEY.")
    ] = None,
    config: ConfigFile = None,
) -> int:
    """Read every object under a prefix through the gateway, so that the cache holds it.

    Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else from the identities file of this machine's node.
    """
    from gateway.cli import warming  # noqa: PLC0415 - aiohttp is slow to import

    keys = warming.find_keys(os.environ, access_key, config)
    return warming.run(warming.parse_source(source), warming.parse_endpoint(endpoint), keys, concurrency)
