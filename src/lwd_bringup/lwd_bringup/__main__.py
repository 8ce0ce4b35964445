# SPDX-License-Identifier: Apache-2.0
"""`python -m lwd_bringup` is the `lwd` command."""

from lwd_bringup.cli.main import main

if __name__ == '__main__':
    main()
