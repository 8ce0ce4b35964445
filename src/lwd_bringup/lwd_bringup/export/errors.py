# SPDX-License-Identifier: Apache-2.0
"""Why something cannot be exported or imported."""


class ExchangeError(ValueError):
    """A data set or bag that cannot be converted; the message names what, where and the bound."""
