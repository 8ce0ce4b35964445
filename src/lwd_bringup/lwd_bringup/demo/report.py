# SPDX-License-Identifier: Apache-2.0
"""report.html: one file that holds everything, readable without a network."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
import platform
from typing import Any

from lwd_bringup.demo import charts
from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.demo.state import DemoState
from lwd_bringup.demo.style import CSS
from lwd_bringup.plots import COLOURS
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.store import write_atomic

NARROW = 350  # px
RECENT = 20  # episodes in the first and last takeover figures
PHASES = {'demonstrate': 'demonstrations', 'sft': 'cloning', 'deploy': 'deploy and learn',
          'dagger': 'HG-DAgger', 'evaluate': 'evaluation', 'illustrate': 'pictures'}


def write_report(config: DemoConfig, state: DemoState, summary: Mapping[str, Any],
                 deployed: Sequence[EpisodeMeta], pictures: Mapping[str, Any]) -> None:
    """Write report.html, and the charts as separate files into figures/."""
    figures = make_figures(state, summary, deployed, pictures)
    for name, content in figures.items():
        if content.startswith('<svg'):
            write_atomic(config.out / 'figures' / f'{name}.svg', content.encode())
    page = make_page(config, state, summary, deployed, pictures, figures)
    write_atomic(config.out / 'report.html', page.encode())


def make_figures(state: DemoState, summary: Mapping[str, Any], deployed: Sequence[EpisodeMeta],
                 pictures: Mapping[str, Any]) -> dict[str, str]:
    """Return the charts by name."""
    curve = state.learner_curve
    losses = {'loss_value': ('value (nat)', COLOURS['final'])}
    critic = {'loss_critic': ('critic', COLOURS['good']), 'loss_policy': ('policy',
                                                                        COLOURS['human'])}
    worth = {'q_success': ('successes', COLOURS['good']), 'q_failure': ('failures', COLOURS['bad']),
             'q_human': ('corrections', COLOURS['human']),
             'q_policy': ('what they corrected', COLOURS['soft'])}
    quantile = {'tau': ('tau', COLOURS['final']), 'entropy': ('entropy of V', COLOURS['soft'])}
    figures = {
        'success': charts.success_bars(summary['success']),
        'learning': charts.success_over_time(deployed),
        'takeovers': charts.takeovers(deployed),
        'loss_value': charts.curves(curve, losses, width=NARROW),
        'loss_critic': charts.curves(curve, critic, width=NARROW),
        'q_by_source': charts.curves(curve, worth, (0.0, 1.0)),
        'quantile': charts.curves(curve, quantile, (0.0, 1.0), NARROW),
        'ticks': charts.timing(state.timing),
        'latency': charts.latency(state.timing),
    }
    for index, strip in enumerate(pictures.get('strips', [])):
        if strip['values']:
            figures[f'value_{index}'] = charts.value_curve(strip)
    return figures


def make_page(config: DemoConfig, state: DemoState, summary: Mapping[str, Any],
              deployed: Sequence[EpisodeMeta], pictures: Mapping[str, Any],
              figures: Mapping[str, str]) -> str:
    """Return the whole page."""
    strips = [_strip(index, strip, figures) for index, strip in
              enumerate(pictures.get('strips', []))]
    body = [
        _head(config, summary), _cards(summary, deployed),
        '<section class="two">',
        _figure('Success from held-out starts', figures['success'],
                f"Wilson 95 % intervals; {summary['success']['final']['n']} starts a policy, the "
                'same for all, nobody takes over.'),
        _figure('Success while it works', figures['learning'],
                'Mean of the last 20 episodes of both robots; shading changes with the '
                'checkpoint that acted.'),
        _figure('Takeovers per episode', figures['takeovers'],
                'How often the operator had to help.'),
        _figure('What the critic thinks', figures['q_by_source'],
                'Mean Q over replayed actions, by outcome and by who acted.'),
        '</section>',
        '<h2>Rollouts</h2><p class="lead">The same held-out start before and after, as the head '
        'camera sees it. Below each: the value function along the way; lines mark the '
        'frames.</p>', *strips,
        '<h2>Learner</h2><section class="three">',
        _figure('Value: cross entropy', figures['loss_value'], ''),
        _figure('Critic and policy loss', figures['loss_critic'], ''),
        _figure('Adaptive quantile', figures['quantile'], ''),
        '</section>',
        '<h2>Loop</h2><section class="two">',
        _figure('Control ticks a second', figures['ticks'],
                'Wall-clock speed of the simulated robots, 25 ticks a second being real time; '
                'lockstep: nothing is skipped.'),
        _figure('Observation to chunk', figures['latency'], 'Median, and dashed the 99th '
                'percentile.'),
        '</section>', _phases(summary), _foot(config, state, summary),
    ]
    title = f"LWD demo, seed {summary['seed']}"
    return ('<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{title}</title><style>{CSS}</style><main>{"".join(body)}</main></html>')


def _head(config: DemoConfig, summary: Mapping[str, Any]) -> str:
    tasks = ', '.join(config.tasks)
    when = datetime.now().strftime('%Y-%m-%d %H:%M')
    return (f'<header><h1>A fleet that learns while it works</h1><p>{config.robots} simulated '
            f'dual-arm robots &middot; {escape(tasks)} &middot; {summary["observation"]} '
            f'observation &middot; seed {summary["seed"]} &middot; {when}</p></header>')


def _cards(summary: Mapping[str, Any], deployed: Sequence[EpisodeMeta]) -> str:
    cards = []
    for name, title in charts.TITLES.items():
        row = summary['success'][name]
        value = '&ndash;' if row['mean'] is None else f"{100 * row['mean']:.0f}<small>%</small>"
        detail = f"{100 * row['low']:.0f} to {100 * row['high']:.0f}, n = {row['n']}"
        cards.append(_card(title, value, detail, COLOURS[name]))
    counts = [len(meta.interventions) for meta in deployed]
    if counts:
        first, last = counts[:RECENT], counts[-RECENT:]
        cards.append(_card(
            'Takeovers an episode',
            f'{sum(first) / len(first):.1f} &rarr; {sum(last) / len(last):.1f}',
            f'first and last {min(RECENT, len(counts))} of {len(counts)} episodes',
            COLOURS['human']))
    points = summary['checkpoints']
    cards.append(_card('Checkpoints', f"{points['published']}",
                       f"published; {points['loaded']} loads by robots", COLOURS['soft']))
    cards.append(_card('Late ticks, losses',
                       f"{summary['late_ticks']}, {summary['lost_messages']}",
                       f"in {summary['wall_s'] / 60:.1f} minutes", COLOURS['soft']))
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(title: str, value: str, detail: str, colour: str) -> str:
    return (f'<div class="card" style="border-top-color:{colour}"><h3>{title}</h3>'
            f'<div class="value">{value}</div><p>{detail}</p></div>')


def _figure(title: str, content: str, caption: str) -> str:
    note = f'<figcaption>{caption}</figcaption>' if caption else ''
    return f'<figure><h3>{title}</h3>{content}{note}</figure>'


def _strip(index: int, strip: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    outcome = 'success' if strip['success'] else 'failure'
    frames = ''.join(f'<img src="{uri}" alt="step {step}">'
                     for uri, step in zip(strip['frames'], strip['shown']))
    value = figures.get(f'value_{index}', '')
    return (f'<figure class="strip"><h3>{escape(strip["task"])} &middot; '
            f'{charts.TITLES[strip["policy"]]} <span class="{outcome}">{outcome}</span>'
            f'<small>start {strip["seed"]}, {strip["steps"]} steps</small></h3>'
            f'<div class="frames">{frames}</div>{value}</figure>')


def _phases(summary: Mapping[str, Any]) -> str:
    total = sum(summary['phases_s'].values()) or 1.0
    parts = ''.join(
        f'<div style="flex:{max(seconds / total, 0.001):.4f}" title="{PHASES.get(name, name)}">'
        f'<b>{PHASES.get(name, name)}</b><span>{seconds:.0f} s</span></div>'
        for name, seconds in summary['phases_s'].items())
    return f'<h2>Where the time went</h2><div class="phases">{parts}</div>'


def _foot(config: DemoConfig, state: DemoState, summary: Mapping[str, Any]) -> str:
    learner = state.learner
    facts = {
        'episodes recorded': summary['episodes'],
        'learner steps': learner.get('step', 0),
        'transitions offline / online': f"{learner.get('transitions_offline', 0)} / "
                                        f"{learner.get('transitions_online', 0)}",
        'episodes refused': learner.get('episodes_rejected', 0),
        'machine': f'{platform.machine()}, Python {platform.python_version()}',
        'folder': str(config.out),
    }
    rows = ''.join(f'<tr><th>{key}</th><td>{escape(str(value))}</td></tr>'
                   for key, value in facts.items())
    return f'<footer><table>{rows}</table></footer>'

