"""Loaded first by the process that workers are forked from, before what they need.

A terminal's Ctrl-C is not for it: the client decides what becomes of the workers; until this is
loaded, an interrupt would end the server in the midst of its imports, with a traceback. And what no
worker uses is not loaded for all of them.
"""

import signal

from geoseg.run.putting_off import collect_later, defer

signal.signal(signal.SIGINT, signal.SIG_IGN)
collect_later()
defer("boto3")  # rasterio looks whether it is there, by loading it
