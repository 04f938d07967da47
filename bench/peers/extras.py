"""The peers' packages, imported when they are needed."""

from __future__ import annotations

import functools

from ravine import _extras

require = functools.partial(_extras.require, extra="peers")
