# SPDX-License-Identifier: Apache-2.0
"""`lwd up GRAPH`: start a graph on this machine and follow it until Ctrl-C."""

from datetime import datetime
import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_bringup.graph import Argument, build_graph, check_files, Graph, GRAPHS, GraphTemplate

app = typer.Typer(no_args_is_help=True, help='Start a graph: robot, sim, sim_fleet, learner, '
                  'replay. The same graphs start with `ros2 launch lwd_bringup GRAPH.launch.py`.')

_RUN_DIR = Annotated[Path | None, typer.Option(
    help='Folder for logs and parameter files (default: data/runs/GRAPH-TIME).')]
_DOMAIN = Annotated[int | None, typer.Option(min=0, max=101, help='ROS_DOMAIN_ID to use.')]
_DRY_RUN = Annotated[bool, typer.Option(help='Print the processes and start nothing.')]


def _option(argument: Argument) -> inspect.Parameter:
    text = argument.description
    if argument.choices:
        text += f" [{' | '.join(argument.choices)}]"
    hint = Annotated[type(argument.default), typer.Option(help=text)]  # type: ignore[misc]
    return inspect.Parameter(argument.name, inspect.Parameter.KEYWORD_ONLY,
                             default=argument.default, annotation=hint)


def _command(template: GraphTemplate) -> Any:
    def command(**values: Any) -> None:
        run_dir, domain = values.pop('run_dir'), values.pop('domain')
        dry_run = values.pop('dry_run')
        graph = build_graph(template.name, **values)
        check_files(graph)
        if dry_run:
            _print_graph(graph)
            return
        stamp = datetime.now().strftime('%Y%m%d-%H%M%S')
        run_graph(graph, run_dir or Path('data/runs') / f'{graph.name}-{stamp}', domain)

    extra = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default,
                               annotation=hint)
             for name, default, hint in (('run_dir', None, _RUN_DIR), ('domain', None, _DOMAIN),
                                         ('dry_run', False, _DRY_RUN))]
    parameters = [_option(argument) for argument in template.arguments] + extra
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = template.description
    return command


for _template in GRAPHS.values():
    app.command(_template.name)(_command(_template))


def _print_graph(graph: Graph) -> None:
    for name, nodes in graph.processes().items():
        print(f'process {name}')
        for node in nodes:
            print(f'  {node.package}/{node.executable} as {node.full_name}')
            for key, value in node.parameters.items():
                print(f'    {key}: {value}')


def ended(runner: Any, graph: Graph) -> bool:
    """Return whether a node has finished that the others were there for."""
    from lwd_bringup.runner.process import State
    return any(runner.process(node.process_name).state is State.EXITED
               for node in graph.nodes if node.ends_graph)


def _mappings(graph: Graph) -> list[str]:
    """Return what the buttons mean, as far as known before a device is plugged in."""
    from lwd_intervention.teleop.building import find_mapping
    from lwd_intervention.teleop.cheatsheet import as_text

    found = []
    for node in graph.nodes:
        name = node.parameters.get('mapping', '')
        if node.executable == 'teleop_node' and name != 'scripted':
            generic = 'xbox' if name == 'auto' else name   # all gamepads share its layout
            found.append(as_text(find_mapping(generic, node.parameters['mapping_dir'])))
    return found


def run_graph(graph: Graph, run_dir: Path, domain: int | None) -> None:
    """Start a graph, follow it until it ends or Ctrl-C; RuntimeError naming what keeps dying."""
    import time

    from lwd_bringup.runner import graph_processes, ros_environment, Runner
    from lwd_bringup.runner.console import Console
    from lwd_bringup.runner.signals import raise_on_termination

    console = Console()
    console('lwd', f'{graph.name}: {len(graph.nodes)} nodes; logs in {run_dir / "log"}')
    for mapping in _mappings(graph):
        print(mapping)
    raise_on_termination()
    specs = graph_processes(graph, run_dir, ros_environment(domain))
    with Runner(specs, run_dir / 'log', console) as runner:
        try:
            while runner.poll() and runner.running() and not ended(runner, graph):
                time.sleep(0.1)
        except KeyboardInterrupt:
            console('lwd', 'stopping')
        failed = runner.failed()
    console.finish()
    if failed:
        raise RuntimeError(f'{failed[0].spec.name} keeps dying; its log is {failed[0].log}')
