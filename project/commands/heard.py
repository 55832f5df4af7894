"""What the embedded API says of its own accord, such as a callback that failed, said as every other warning is."""

import logging

from project.render.output import Output


class _Warnings(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        self._output.warn(record.getMessage() + (f" ({failure})" if failure else ""))


def listen(output: Output) -> None:
    """From now on its warnings go to `output`, and only there."""
    log = logging.getLogger("api_srv")
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, _Warnings)]
    log.addHandler(_Warnings(output))
