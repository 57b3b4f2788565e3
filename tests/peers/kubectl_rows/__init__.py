"""The rows of docs/reference/kubectl.md: one thing people do with kubectl each, done with a real one.

One file a subject; case.py says what a row is. SERVER_ROWS need a server alone, LAB_ROWS work that runs, so they have
the agents of `neap up`. The page has them in this order.
"""

from . import apply, change, create, delete, logs, ports, read, rights, sessions, validation, wait
from .case import Absent
from .lab import Lab

SERVER_ROWS = [row for part in (read, apply, change, delete, wait, validation, rights, create) for row in part.ROWS]
LAB_ROWS = [row for part in (logs, sessions, ports) for row in part.ROWS]
