# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

from setuptools import find_packages, setup

package_name = 'lwd_bringup'


def shared(folder, suffixes):
    """List the repository's files under folder as data files of this package."""
    top = Path(__file__).resolve().parents[2]
    found = {}
    for path in sorted((top / folder).rglob('*')):
        if path.is_file() and path.suffix in suffixes:
            target = f'share/{package_name}/{path.parent.relative_to(top)}'
            found.setdefault(target, []).append(os.path.relpath(path, Path(__file__).parent))
    return sorted(found.items())


setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        *shared('launch', {'.py'}),
        *shared('config', {'.yaml', '.xml', '.json', '.safetensors'}),
    ],
    install_requires=['setuptools', 'av', 'mcap', 'pyarrow', 'rosbags', 'textual', 'torch'],
    extras_require={'rerun': ['rerun-sdk']},
    zip_safe=False,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='The graph as data, its starters, the lwd command and the demonstration.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'compose_node = lwd_bringup.compose_node:main',
            'lwd = lwd_bringup.cli.main:main',
            'replay_node = lwd_bringup.replay_node:main',
            'shadow_node = lwd_bringup.shadow_node:main',
        ],
    },
)
