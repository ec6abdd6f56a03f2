"""Loaded first by the process that workers are forked from: a terminal's Ctrl-C is not for it.

The client decides what becomes of the workers; until this is loaded, an interrupt would end the
server in the midst of its imports, with a traceback.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
