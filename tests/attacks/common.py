# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the attacks share: the harness of tests/integration, and a daemon that stands still."""
import contextlib
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tests", "integration"))

from harness import SANITIZED, Case, run, when  # pylint: disable=wrong-import-position

__all__ = ["HERE", "SANITIZED", "TREE", "Attack", "run", "when"]


class Attack(Case):
    def limited(self, *quotas, **options):
        return self.dom0(options=[f"--quota={q}" for q in quotas], **options)

    @contextlib.contextmanager
    def standing_still(self, daemon):
        """Everything that is done meanwhile the daemon finds at once."""
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            when(lambda: self.assertEqual(daemon.stat()[0], "T"), AssertionError)
            yield
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
