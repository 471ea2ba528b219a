"""A pseudo-terminal, for what is shown on a terminal only."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios


class Terminal:
    """A terminal of `columns`; `device` is the file descriptor that a program gets. It holds some 4,000 bytes."""

    def __init__(self, columns: int) -> None:
        self._screen, self.device = pty.openpty()
        fcntl.ioctl(self.device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self) -> str:
        """Return all output; `device` must be closed."""
        content = b""
        try:
            while chunk := os.read(self._screen, 1 << 16):
                content += chunk
        except OSError:  # Linux's end of file
            pass
        os.close(self._screen)
        return content.decode()
