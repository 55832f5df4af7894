"""An SMTP server whose every mail becomes one .eml file, in order of arrival.

A recipient whose local part starts with `refused` is refused for good (550), one that starts with `later` is
refused for now (451). The folder's files `down` (421 to everything) and `slow` (seconds to wait) change the rest.
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from aiosmtpd.controller import Controller


class Sink:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count(1)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 no such user here"
        if address.startswith("later"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if (self.folder / "slow").exists():
            await asyncio.sleep(float((self.folder / "slow").read_text()))
        if (self.folder / "down").exists():
            return "421 4.3.2 service not available"
        name = f"{time.time():.6f}-{next(self.numbers):05d}.eml"
        aside = self.folder / f".{name}"
        head = f"X-Rcpt: {','.join(envelope.rcpt_tos)}\r\nX-Envelope-From: {envelope.mail_from}\r\n"
        aside.write_bytes(head.encode() + envelope.content)
        aside.rename(self.folder / name)
        return "250 OK"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    controller = Controller(Sink(folder), hostname="127.0.0.1", port=int(sys.argv[2]))
    controller.start()
    asyncio.new_event_loop().run_forever()


main()
