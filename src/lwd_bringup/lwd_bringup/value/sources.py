# SPDX-License-Identifier: Apache-2.0
"""Find what `lwd value` needs: the recording, the critic, the critic's configuration."""

from pathlib import Path

from lwd_bringup.catalogue import find_episode
from lwd_bringup.paths import default_store
from lwd_core.episode.meta import META
from lwd_learner.online import STATE_FILE

LEARNERS = ('learner', 'learner/offline', 'offline/offline')  # beside a store


def find_bag(bag: str, store: str) -> Path:
    """Return the episode's folder, from itself, its .mcap, or the start of its id in a store."""
    path = Path(bag)
    folder = path.parent if path.is_file() else path
    if (folder / META).is_file():
        return folder.resolve()
    if path.exists():
        raise ValueError(f'{folder} has no {META}: not a recorded episode, or one that was cut; '
                         'give the folder of an episode, see `lwd episodes list`')
    return find_episode(store or default_store(), bag)[0].resolve()


def find_learner(folder: Path, given: Path | None) -> Path:
    """Return the folder with the critic: as given, else beside the store the episode lies in."""
    if given is not None:
        places = [given, given / 'offline']
    else:
        places = [top / name for top in _beside(folder) for name in LEARNERS]
    for place in places:
        if (place / STATE_FILE).is_file():
            return place
    tried = ', '.join(map(str, places))
    raise ValueError(f'no {STATE_FILE} in {tried}: name the folder of the learner that saved its '
                     'critic with --learner, or train one: `lwd train offline --data STORE`')


def find_config(learner: Path, given: Path | None) -> Path | None:
    """Return the learner's YAML: as given, else as a demonstration left it; None: defaults."""
    if given is not None:
        return given
    for place in (learner, *learner.parents[:2]):
        if (place / 'run' / 'learner.yaml').is_file():
            return place / 'run' / 'learner.yaml'
    return None


def _beside(folder: Path) -> list[Path]:
    """Return the folder that holds the store (store/episodes/robot/date/id), and ./data."""
    inside = len(folder.parents) > 4 and folder.parents[2].name == 'episodes'
    return [*([folder.parents[4]] if inside else []), Path('data')]
