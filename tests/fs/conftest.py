# SPDX-License-Identifier: BSD-3-Clause
"""The fixtures, for the tests of this folder."""

from fixtures import *  # noqa: F403  pylint: disable=wildcard-import,unused-wildcard-import
